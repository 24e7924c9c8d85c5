"""Train a convolutional network: python train.py arch=wideresnet recipe=rsb_a2 datamodule=cifar10"""

from typing import Any

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.config.derived import eval_preprocessing
from lineage.doors import door
from lineage.running.parent import follow_parent
from lineage.running.process import loading


@door
def run(cfg: DictConfig) -> dict[str, Any]:
    checks(cfg)
    cfg = complete(cfg)
    follow_parent()

    with loading():
        from lineage import assemble
        from lineage.running.run import Run

    the_run = Run(cfg, eval_preprocessing(cfg))  # nothing is written before it opens
    network = assemble.network(cfg, weights=not the_run.continues)
    trainer = assemble.trainer(cfg, network, loggers=True, callbacks=the_run.callbacks())
    data = assemble.data(cfg)
    classifier = assemble.classifier(cfg, network, data, trainer)

    with the_run.opened(trainer, classifier, data) as checkpoint:
        trainer.fit(classifier, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        return the_run.test(trainer, classifier, data)

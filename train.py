"""Train a convolutional network: python train.py arch=wideresnet recipe=rsb_a2 datamodule=cifar10"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from running import errors, schema  # noqa: F401  # neither imports torch: a wrong command is refused before that
from running.checks import checks
from running.completion import complete
from running.parent import follow_parent


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@errors.of_a_job
def main(cfg: DictConfig) -> float | None:
    checks(cfg)
    complete(cfg)
    follow_parent()

    import assemble
    from running.run import Run

    run = Run(cfg)  # nothing is written before it opens
    network = assemble.network(cfg, weights=not run.continues)
    trainer = assemble.trainer(cfg, network, loggers=True, callbacks=run.callbacks())
    data = assemble.data(cfg, share=trainer.world_size > 1)
    classifier = assemble.classifier(cfg, network, data, trainer)

    with run.opened(trainer, classifier, data) as checkpoint:
        trainer.fit(classifier, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        return run.test(trainer, classifier, data)


if __name__ == "__main__":
    with errors.for_people():
        main()

"""Show images of a training step: lineage preview arch=resnet50 recipe=rsb_a2 datamodule=imagenet"""

from pathlib import Path

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.doors import door
from lineage.running.process import loading


@door
def run(cfg: DictConfig) -> None:
    checks(cfg)
    cfg = complete(cfg)

    with loading():
        import torch
        from hydra.core.hydra_config import HydraConfig
        from rich.text import Text

        from lineage import assemble
        from lineage.analysis import contact_sheet
        from lineage.anatomy.cost import SkipInitialisation
        from lineage.reporting import dataset_summary
        from lineage.reporting.screen import console, show_plan, show_table
        from lineage.reporting.training_images import pairs

    with SkipInitialisation():
        network = assemble.network(cfg, device="meta")
    trainer = assemble.trainer(cfg, network)
    data = assemble.data(cfg)
    classifier = assemble.classifier(cfg, network, data, trainer)
    data.trainer = trainer

    with torch.no_grad():
        images = pairs(data, classifier, cfg.images, cfg.epoch, cfg.step)
        statistics = dataset_summary.statistics(data)
    choices, augmentation = HydraConfig.get().runtime.choices, dataset_summary.augmentation(classifier.recipe)
    title, file = f"{choices['datamodule']} under {choices['recipe']}", Path(f"{cfg.output}.png")
    heads = ("evaluation", f"training, epoch {cfg.epoch}, step {cfg.step}")
    contact_sheet.write(contact_sheet.sheet([pair.cells() for pair in images], title, augmentation, heads), file)

    out = console()
    show_plan(out, {**statistics, "augmentation": augmentation}, data.notes)
    show_table(out, *dataset_summary.class_table(data))
    out.print(Text(str(file)), soft_wrap=True)

"""Look at the data as a network sees them: python preview.py arch=resnet50 recipe=rsb_a2 datamodule=imagenet"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from running import errors, schema  # noqa: F401  # neither imports torch
from running.checks import checks
from running.completion import complete


@hydra.main(version_base="1.3", config_path="conf", config_name="preview")
@errors.of_a_job
def main(cfg: DictConfig) -> None:
    checks(cfg)
    complete(cfg)

    import sys

    import torch
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console
    from rich.text import Text

    import assemble
    from anatomy.cost import WithoutValues
    from running import contact_sheet, data_table
    from running.screen import show_plan
    from running.step_images import pairs

    with WithoutValues():
        network = assemble.network(cfg, device="meta")
    trainer = assemble.trainer(cfg, network)
    data = assemble.data(cfg)
    classifier = assemble.classifier(cfg, network, data, trainer)
    data.trainer = trainer

    with torch.no_grad():
        shown = pairs(data, classifier, cfg.images, cfg.epoch, cfg.step)
        facts = data_table.facts(data)
    choices, does = HydraConfig.get().runtime.choices, data_table.augmentation(classifier.recipe)
    title, file = f"{choices['datamodule']} under {choices['recipe']}", Path(f"{cfg.output}.png")
    heads = ("in a test", f"in training, epoch {cfg.epoch}, step {cfg.step}")
    contact_sheet.write(shown, title, does, heads, file)

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    show_plan(console, {**facts, "augmentation": does}, data.notes)
    console.print(data_table.class_table(data))
    console.print(Text(str(file)), soft_wrap=True)


if __name__ == "__main__":
    with errors.for_people():
        main()

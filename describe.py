"""Look at a network: python describe.py arch=efficientnet_b0 datamodule=imagenet"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from running import errors, schema  # noqa: F401  # neither imports torch
from running.checks import checks
from running.completion import complete


@hydra.main(version_base="1.3", config_path="conf", config_name="describe")
@errors.of_a_job
def main(cfg: DictConfig) -> None:
    checks(cfg)
    complete(cfg)

    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console
    from rich.text import Text

    import assemble
    from anatomy.cost import WithoutValues
    from anatomy.drawing import write
    from anatomy.report import NOTES, tabulate
    from anatomy.table import dissect

    with WithoutValues():
        network: Any = assemble.network(cfg, device="meta")
    side = assemble.test_side(cfg)
    anatomy = dissect(network, cfg.datamodule.channels, side)
    hydra_config = HydraConfig.get()
    words = [word.removeprefix("arch.") for word in hydra_config.overrides.task if word.startswith("arch.")]
    title = " ".join([str(hydra_config.runtime.choices["arch"]), *words])

    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    console.print(Text(f"{title}, one image of {cfg.datamodule.channels}x{side}x{side}\n", style="bold"))
    console.print(tabulate(anatomy))
    console.print(Text("\n" + NOTES, style="dim"))
    for note in network.notes:
        console.print(Text("note: " + note, style="yellow"))
    files = [Path(f"{cfg.output}.svg"), Path(f"{cfg.output}.png")]
    write(anatomy, title, files)
    for file in files:
        console.print(Text(str(file)), soft_wrap=True)


if __name__ == "__main__":
    with errors.for_people():
        main()

"""Tabulate and draw a network: lineage describe arch=efficientnet_b0 datamodule=imagenet"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.config.derived import eval_size
from lineage.doors import door
from lineage.running.process import loading


@door
def run(cfg: DictConfig) -> None:
    checks(cfg)
    cfg = complete(cfg)

    from hydra.core.hydra_config import HydraConfig
    from rich.text import Text

    with loading():
        from lineage import assemble
        from lineage.anatomy.cost import SkipInitialisation
        from lineage.anatomy.drawing.svg import write
        from lineage.anatomy.report import NOTES, tabulate
        from lineage.anatomy.table import dissect
        from lineage.reporting.screen import console, show_notes

    with SkipInitialisation():
        network: Any = assemble.network(cfg, device="meta")
    side = eval_size(cfg)
    anatomy = dissect(network, cfg.datamodule.channels, side)
    hydra_config = HydraConfig.get()
    arguments = [word.removeprefix("arch.") for word in hydra_config.overrides.task if word.startswith("arch.")]
    title = " ".join([str(hydra_config.runtime.choices["arch"]), *arguments])

    out = console()
    out.print(Text(f"{title}, one image of {cfg.datamodule.channels}x{side}x{side}\n", style="bold"))
    for line in tabulate(anatomy, out.width):
        out.print(line, soft_wrap=True)
    out.print(Text("\n" + NOTES, style="dim"))
    show_notes(out, network.notes)
    files = [Path(f"{cfg.output}.svg"), Path(f"{cfg.output}.png")]
    write(anatomy, title, files)
    for file in files:
        out.print(Text(str(file)), soft_wrap=True)

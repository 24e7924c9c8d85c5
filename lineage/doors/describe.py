"""Tabulate and draw a network: lineage describe arch=efficientnet_b0 datamodule=imagenet"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lineage.asking import several
from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.config.derived import eval_size
from lineage.doors import door
from lineage.errors import UserError
from lineage.running.process import loading


@door
def describe(cfg: DictConfig) -> None:
    checks(cfg)
    if cfg.layers and cfg.networks:
        raise UserError("layers=true: the layers are those of one network; without it each has a row.")
    cfgs = {str(words): several.config_of(str(words)) for words in cfg.networks}
    cfgs = {several.in_papers(words, each): each for words, each in cfgs.items()}
    cfg = cfg if cfgs else complete(cfg)

    from hydra.core.hydra_config import HydraConfig
    from rich.text import Text

    with loading():
        from lineage import assemble
        from lineage.anatomy import layers, report
        from lineage.anatomy.drawing import svg
        from lineage.anatomy.table import dissect
        from lineage.asking import describing
        from lineage.reporting.screen import console, show_notes, show_table

    out, place = console(), Path(cfg.output)
    if cfgs:
        rows = [describing.row(words, each) for words, each in cfgs.items()]
        show_table(out, *describing.table(rows))
        print(*describing.write(rows, place), sep="\n")
        return
    network: Any = assemble.network(cfg, device="meta")
    side, hydra_config = eval_size(cfg), HydraConfig.get()
    arguments = [word.removeprefix("arch.") for word in hydra_config.overrides.task if word.startswith("arch.")]
    title = " ".join([str(hydra_config.runtime.choices["arch"]), *arguments])
    out.print(Text(f"{title}, one image of {cfg.datamodule.channels}x{side}x{side}\n", style="bold"))
    if cfg.layers or cfg.module is not None:
        found = describing.layers_of(cfg, network)
        show_table(out, *layers.table(found))
        out.print(Text("\n" + layers.NOTES, style="dim"))
        files = describing.write([layer._asdict() for layer in found], place)
    else:
        anatomy = dissect(network, cfg.datamodule.channels, side)
        for line in report.tabulate(anatomy, out.width):
            out.print(line, soft_wrap=True)
        out.print(Text("\n" + report.NOTES, style="dim"))
        files = [Path(f"{place}.{ending}") for ending in ("svg", "png")]
        svg.write(anatomy, title, files)
    show_notes(out, network.notes)
    for file in files:
        out.print(Text(str(file)), soft_wrap=True)


def run(words: Sequence[str]) -> Any:
    """arch=a,b arch.KEY=x,y is a table of networks, with -m or without."""
    named = any(word.startswith("arch=") or word in ("-m", "--multirun") for word in words)
    names = several.networks_of(words) if named else []
    if len(names) > 1:
        taken = ("arch=", "arch.", "-m", "--multirun")
        words = [*(word for word in words if not word.startswith(taken)), f"networks={names}"]
    return describe(words)

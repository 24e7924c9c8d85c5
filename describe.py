"""Look at a network: python describe.py arch=efficientnet_b0 datamodule=imagenet"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from running import errors, schema  # noqa: F401  # neither imports torch

if TYPE_CHECKING:
    from rich.table import Table

    from archs.anatomy.table import Anatomy


def tabulate(anatomy: Anatomy) -> Table:
    """The paper-style table: a row a stage, and the sums."""
    from rich import box
    from rich.table import Table

    def share(part: int, whole: int) -> str:
        return f"{100 * part / whole:.1f}" if whole else ""

    def macs(number: int) -> str:
        return f"{number / 1e6:,.1f} M" if anatomy.macs >= 10**7 else f"{number:,}"

    table = Table(
        box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True, header_style="bold", footer_style="bold"
    )
    columns = {  # name: (footer, side)
        "stage": ("total", "left"), "operator": ("", "left"), "output": ("", "right"), "channels": ("", "right"),
        "layers": (str(sum(row.layers for row in anatomy.rows)), "right"), "depth": (str(anatomy.depth), "right"),
        "parameters": (f"{anatomy.parameters:,}", "right"), "%": ("100.0", "right"),
        "MACs": (macs(anatomy.macs), "right"), "% ": ("100.0", "right"), "field": (str(anatomy.field), "right"),
    }  # fmt: skip
    for name, (footer, justify) in columns.items():
        table.add_column(name, footer, justify=justify, no_wrap=name != "operator")  # type: ignore[arg-type]
    for row in anatomy.rows:
        output = ("x".join(map(str, row.side)), str(row.channels), str(row.layers), str(row.depth))
        runs = row.channels > 0  # auxiliary heads do not, in evaluation
        table.add_row(
            row.name, row.operator.replace("; ", "\n"), *(output if runs else [""] * 4),
            f"{row.parameters:,}", share(row.parameters, anatomy.parameters),
            macs(row.macs), share(row.macs, anatomy.macs), row.sees if runs else "",
        )  # fmt: skip
    return table


NOTES = (
    "layers: blocks, or layers outside of a block; depth: layers with weights on the longest path so far. MACs: "
    "multiply-adds of one image in convolutions and linear layers. field: the receptive field, the pixels of the "
    "image that one of the output depends on, over all paths; gates of squeeze-and-excitation (SE), which depend on "
    "the whole image, are left out."
)


@hydra.main(version_base="1.3", config_path="conf", config_name="describe")
@errors.for_people()
def main(cfg: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console
    from rich.text import Text

    from running.check import apply_resolution, check_values, complete_arch

    hydra_config = HydraConfig.get()
    check_values(cfg, list(hydra_config.overrides.task), "describe")
    complete_arch(cfg)
    apply_resolution(cfg)

    import torch

    from archs.anatomy.drawing import write
    from archs.anatomy.table import dissect
    from train import build_network

    with torch.device("meta"):
        network = build_network(cfg)
    resolution = cfg.datamodule.resolution or cfg.recipe.test_res
    anatomy = dissect(network, cfg.datamodule.channels, resolution)
    choice = hydra_config.runtime.choices["arch"]
    words = [word.removeprefix("arch.") for word in hydra_config.overrides.task if word.startswith("arch.")]
    title = " ".join([str(choice), *words])

    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    console.print(Text(f"{title}, one image of {cfg.datamodule.channels}x{resolution}x{resolution}\n", style="bold"))
    console.print(tabulate(anatomy))
    console.print(Text("\n" + NOTES, style="dim"))
    for remark in getattr(network, "remarks", []):
        console.print(Text("note: " + remark, style="yellow"))
    files = [Path(f"{cfg.output}.svg"), Path(f"{cfg.output}.png")]
    write(anatomy, title, files)
    for file in files:
        console.print(Text(str(file)), soft_wrap=True)


if __name__ == "__main__":
    with errors.for_people():
        main()

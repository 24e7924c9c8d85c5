"""What lineage describe tells of a network: its layers, and of several networks a row each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lineage import assemble
from lineage.analysis import networks, papers
from lineage.anatomy.layers import Layer, layers
from lineage.anatomy.table import dissect
from lineage.config.derived import eval_size
from lineage.errors import UserError
from lineage.files import as_csv, write_whole
from lineage.text import nearest


def layers_of(cfg: DictConfig, network: Any) -> list[Layer]:
    """Its layers, or those of the command's `module`. Raises UserError: there is no such module."""
    names = [name for name, _ in network.named_modules()]
    if cfg.module is not None and cfg.module not in names:
        raise UserError(f"module={cfg.module}: there is no such part.{nearest(cfg.module, names)}")
    return layers(network, cfg.datamodule.channels, eval_size(cfg), cfg.module)


def row(words: str, cfg: DictConfig) -> dict[str, Any]:
    """Of a network, or of the command's `module`: its name, parameters and multiply-adds. Of a whole network also the
    layers on the longest path, the receptive field, and the errors in papers, each with its conditions."""
    network, side = assemble.network(cfg, device="meta"), eval_size(cfg)
    found: dict[str, Any] = {"network": networks.title(words), "resolution": side}
    if cfg.module is not None:
        parts = layers_of(cfg, network)
        return found | {"parameters": sum(p.weights + p.biases for p in parts), "MACs": sum(p.macs for p in parts)}
    look = dissect(network, cfg.datamodule.channels, side)
    found |= {"parameters": look.parameters, "MACs": look.macs, "layers": look.depth, "field": look.field}
    for number in papers.numbers().get(words, ()):
        if number.quantity.endswith("_error"):
            text = f"{number.value} ({number.note})" if number.note else number.value
            found[number.quantity] = ", ".join(filter(None, (found.get(number.quantity), text)))
    return found


def write(rows: Sequence[Mapping[str, Any]], place: Path) -> list[Path]:
    """Write a table as CSV and as Markdown; returns the files. Raises UserError: they cannot be written."""
    columns = [*dict.fromkeys(column for cells in rows for column in cells)]
    lines = [columns, ["---"] * len(columns), *([text(cells.get(column)) for column in columns] for cells in rows)]
    markdown = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    files = {Path(f"{place}.csv"): as_csv(columns, rows), Path(f"{place}.md"): markdown}
    place.parent.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        write_whole(file, content, "choose output=PATH")
    return [*files]


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what a terminal shows of networks: their numbers, then the name; errors stand in the files."""
    name, *numbers = [column for column in rows[0] if not column.endswith("_error")]
    head = [*numbers, name]
    return head, [[text(row[column]) for column in head] for row in rows]


def text(cell: Any) -> str:
    return "" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell)

"""Write docs/architectures.md, from its line MADE on, and its drawings: make docs

The prose is in docs/papers.yaml, the papers' numbers are in archs/papers.csv, and the numbers beside them are
counted from the networks.
"""

import functools
from collections.abc import Iterator

from hydra import compose, initialize_config_dir

from docs import papers
from docs.papers import ERRORS, ROOT, Entry, counted, families
from lineage import assemble
from lineage.analysis.papers import Number, numbers
from lineage.anatomy.drawing.svg import draw, write
from lineage.anatomy.table import Anatomy, dissect
from lineage.config import schema  # noqa: F401  # registers the recipe's types

PAGE = ROOT / "docs" / "architectures.md"


@functools.cache
def anatomy(network: str) -> Anatomy:
    """The network for the data and the resolution of its first row in the golden table."""
    row = counted()[network][0]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"datamodule={row['dataset']}", *f"arch={network}".split()])
    built = assemble.network(cfg, device="meta")
    return dissect(built, cfg.datamodule.channels, int(row["input_size"]))


def page() -> str:
    """The text of docs/architectures.md."""
    return papers.page(
        PAGE, families=families(), by_name={family.family: family for family in families()}, counted=counted(),
        anatomy=anatomy, errors=ERRORS, printed=printed, parameters=parameters, multiply_adds=multiply_adds,
        sources=sources,
    )  # fmt: skip


def sources(entry: Entry) -> list[str]:
    return [*dict.fromkeys(number.source for _, number in paper_numbers(entry) if number.source)]


def paper_numbers(entry: Entry) -> Iterator[tuple[str, Number]]:
    """The paper's numbers of an entry, also at smaller resolutions, each with its condition."""
    rows = {row["config"]: row["input_size"] for row in counted()[entry.network] if row["config"] in numbers()}
    for i, (config, size) in enumerate(rows.items()):
        for number in numbers()[config]:
            if number.quantity != "none":
                yield ", ".join(filter(None, (f"at {size} pixels" if i else "", number.note))), number


def printed(entry: Entry, quantity: str) -> str:
    """The paper's numbers of a quantity: "22.85 (ten crops), 24.7 (one crop)"."""
    found = {(when, str(number)): None for when, number in paper_numbers(entry) if number.quantity == quantity}
    if quantity == "params":  # they are the same at every resolution
        found = {(when, text): None for when, text in found if not when.startswith("at ")}
    return ", ".join(f"{text} ({when})" if when else text for when, text in found)


def parameters(entry: Entry) -> str:
    """Our counts: for each data set if they differ, and for the networks that share the drawing."""
    found: dict[str, str] = {}
    for row in counted()[entry.network]:
        found.setdefault(f"{int(row['params']):,}", row["dataset"])
    texts = [number if len(found) == 1 else f"{number} ({dataset})" for number, dataset in found.items()]
    texts += [f"{int(row['params']):,} (`{network}`)" for network in entry.also for row in counted()[network]]
    return "; ".join(texts)


def multiply_adds(entry: Entry) -> str:
    found: dict[str, str] = {}
    for row in counted()[entry.network]:
        millions = float(row["macs"]) if row["macs"] else anatomy(entry.network).macs / 1e6
        text = f"{millions:,.{3 if millions < 10 else 1}f} M at {row['input_size']} pixels"
        found.setdefault(row["input_size"], text)
    return "; ".join(found.values())


def is_current(entry: Entry) -> bool:
    """Whether the drawing on disk is up to date."""
    return entry.drawing.exists() and entry.drawing.read_text() == draw(anatomy(entry.network), entry.name).svg()


def main() -> None:
    PAGE.write_text(page())
    for file in set(papers.DRAWINGS.glob("*.svg")) - {entry.drawing for entry in papers.entries()}:
        file.unlink()
    for entry in papers.entries():
        if not is_current(entry):
            write(anatomy(entry.network), entry.name, [entry.drawing])
            print(entry.drawing.relative_to(ROOT))


if __name__ == "__main__":
    main()

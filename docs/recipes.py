"""Write docs/recipes.md and the picture of all schedules: make docs

The values are those of conf/recipe, in the table's order; who says so, and where published code says otherwise, is in
tests/golden/recipes.csv; the prose is the headers'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from docs import curves
from docs.procedures import (
    DIFFERS,
    MARKS,
    NETWORKS,
    PICTURES,
    ROOT,
    SETS,
    TABLE_2,
    Cell,
    cells,
    header,
    is_idle,
    recipe,
    resolution,
    strengths,
)
from lineage.recipes.recipe import Recipe

PAGE = ROOT / "docs" / "recipes.md"
# The paper's words for its rows, and the keys that say the same.
ROWS = {
    "Train res": "train_res", "Test res": "test_res", "Epochs": "epochs", "# of forward pass": "steps",
    "Batch size": "batch_size", "Optimizer": "optimizer", "LR": "lr", "LR decay": "schedule",
    "Decay rate": "decay_rate", "Decay epochs": "decay_epochs", "Weight decay": "weight_decay",
    "Warmup epochs": "warmup_epochs", "Label smoothing": "label_smoothing", "Dropout": "dropout",
    "Stoch. depth": "drop_path", "Repeated aug": "repeated_aug", "Gradient clip.": "grad_clip", "H. flip": "hflip",
    "RRC": "crop", "Rand augment": "rand_augment", "Auto augment": "auto_augment", "Mixup alpha": "mixup_alpha",
    "Cutmix alpha": "cutmix_alpha", "Erasing prob.": "erasing_prob", "ColorJitter": "color_jitter",
    "PCA lighting": "pca_lighting", "SWA": "swa", "EMA": "ema", "Test crop ratio": "test_crop_ratio", "Loss": "loss",
    "Mixed precision": "mixed_precision", "Top-1, %": "top1",
}  # fmt: skip
INTRODUCTION = """# Procedures

Every landmark training procedure, as a column of the table in which they are compared most often: Table 2 of "ResNet
strikes back" (arXiv 2110.00476). A procedure is a file of [conf/recipe](../conf/recipe), in the order of the table's
rows, and `python train.py arch=ANY datamodule=ANY recipe=NAME` trains any network by it.

The values below are read from those files, and a test holds each of them against
[recipes.csv](../tests/golden/recipes.csv), which says who published it. A value without a mark is printed in a paper,
or stands in its authors' code. † is a third party's account of it; ‡ was not compared with anything; § is decided here,
since the authors say nothing or say it without a number. ≠ is a place where published code differs from the published
table; the remark of that number says how. A dash is a thing that a procedure does not use.

This page is made by `make docs`, and a test holds it against the files.
"""
SCHEDULES = """## Over a training

![Learning rate, momentum, augmentation and resolution of all procedures](recipes/schedules.svg)

The learning rate, from the first step to the last, on one logarithmic scale; the number behind a name is that of its
epochs. A procedure that waits for a plateau is drawn with plateaus of equal length. Momentum is that of SGD and
RMSProp, or the first beta. Augmentation is how far the network's input is from the picture itself, in deviations of a
pixel, mean over 32 draws of one photograph, mixing included: [strength.csv](recipes/strength.csv). Resolution is the
side of the images in training.

![A photograph as the network sees it, under each procedure](recipes/augmentation.jpg)

Two draws of each: a photograph of scikit-learn's (china.jpg), mixed with another (flower.jpg) where a procedure mixes.
Small images are shown as they are, 32 pixels wide.
"""


def page() -> str:
    """The text of docs/recipes.md."""
    parts = [INTRODUCTION, SCHEDULES]
    for title, names in SETS.items():
        parts += [f"## {title}\n", table(names), beside(names), remarks(names)]
    return "\n".join([*parts, "## Each procedure\n", *(article(name) for names in SETS.values() for name in names)])


def table(names: Sequence[str]) -> str:
    """The rows of the paper's table that one of the procedures uses."""
    rows = {title: [shown(name, key) for name in names] for title, key in ROWS.items()}
    return markdown(names, {title: row for title, row in rows.items() if set(row) != {"–"} or names is TABLE_2})


def beside(names: Sequence[str]) -> str:
    """What the paper's table leaves out: keys that one of the procedures uses."""
    keys = [field.name for field in fields(Recipe) if field.name not in ROWS.values()]
    rows = {f"`{key}`": [shown(name, key) for name in names] for key in keys}
    return f"What the table leaves out:\n\n{markdown(names, {t: r for t, r in rows.items() if set(r) != {'–'}})}"


def markdown(names: Sequence[str], rows: dict[str, list[str]]) -> str:
    links = [f"[{name}](#{name})" for name in names]
    lines = [f"| | {' | '.join(links)} |", "|---" * (len(names) + 1) + "|"]
    return "\n".join([*lines, *(f"| {title} | {' | '.join(row)} |" for title, row in rows.items()), ""])


def shown(name: str, key: str) -> str:
    """A cell: the value, in the table's words where it has some, its mark, and the number of its remark."""
    cell, value = cells().get((name, key)), getattr(recipe(name), key, None)
    if key in ("steps", "top1"):
        return f"{(cell.printed or cell.value).rstrip('%')}{number(cell)}" if cell else "–"
    if key not in ROWS.values() and (is_off(key, value) or is_idle(name, key)):
        return "–"
    if key in ("train_res", "test_res") and value == NETWORKS and cell:
        return f"network's, {cell.value}"
    text = words(key, value) if cell is None or not cell.printed else printed(cell)
    return f"{text}{MARKS[cell.certainty] if cell and text != '–' else ''}{number(cell)}"


def printed(cell: Cell) -> str:
    return {"v": "✓", "x": "–", "-": "–"}.get(cell.printed, cell.printed)


def words(key: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{item:.4g}".replace("e-0", "e-") for item in value) or "–"
    if isinstance(value, bool):
        return "✓" if value else "–"
    if isinstance(value, float):
        return f"{value:.7g}".replace("e-0", "e-") if value else "–"
    return str(value or "–").replace("none", "–")


def is_off(key: str, value: Any) -> bool:
    """Whether a value only says that a thing is not used, or how it would be."""
    field = next(field for field in fields(Recipe) if field.name == key)
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return value == default or value is False


def remarked(names: Sequence[str]) -> list[Cell]:
    """The cells with a remark, in the order of the table; one of the same words counts once."""
    found = [cells()[name, key] for key in keys() for name in names if (name, key) in cells()]
    return list({cell.note: cell for cell in found if cell.note}.values())


def keys() -> list[str]:
    return [*ROWS.values(), *(field.name for field in fields(Recipe) if field.name not in ROWS.values())]


def number(cell: Cell | None) -> str:
    """The number of a cell's remark in its set of procedures."""
    if cell is None or not cell.note:
        return ""
    names = next(names for names in SETS.values() if cell.recipe in names)
    place = [other.note for other in remarked(names)].index(cell.note) + 1
    return f" {'≠ ' if cell.note.startswith(DIFFERS) else ''}[{place}]"


def remarks(names: Sequence[str]) -> str:
    """Where published code differs from what is printed, and what else a cell needs to be read."""
    lines = []
    for place, remark in enumerate(remarked(names), start=1):
        same = [cell for cell in cells().values() if cell.recipe in names and cell.note == remark.note]
        recipes = ", ".join(dict.fromkeys(cell.recipe for cell in same))
        about = ", ".join(dict.fromkeys(f"`{cell.key}`" for cell in same))
        lines.append(f"{place}. {recipes}, {about}: {remark.note}")
    return "\n".join([*lines, ""])


def article(name: str) -> str:
    """The header of a recipe, as text."""
    told = header(name)
    lines = [f"### {name}", "", told[""], "", f"    {told['Command']}", ""]
    lines += [f"- {word}: {text}" for word, text in told.items() if word not in ("", "Command")]
    return "\n".join([*lines, f"- File: [conf/recipe/{name}.yaml](../conf/recipe/{name}.yaml)", ""])


def picture() -> str:
    """The text of docs/recipes/schedules.svg."""
    names = [name for names in SETS.values() for name in names]
    return curves.draw({name: (recipe(name), resolution(name)) for name in names}, strengths())


def main() -> None:
    (PICTURES / "schedules.svg").write_text(picture())
    PAGE.write_text(page())


if __name__ == "__main__":
    main()

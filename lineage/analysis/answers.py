"""What a network answers about images: the most probable classes, as lines or as a table."""

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy

from lineage.files import as_csv


class Answer(NamedTuple):
    """The most probable classes of an image, by their numbers.

    Attributes:
        image: its path.
        label: its true class; -1: unknown.
    """

    image: str
    label: int
    classes: list[int]
    probabilities: list[float]


def answers(images: Sequence[str], labels: Sequence[int], logits: numpy.ndarray, top: int) -> list[Answer]:
    """The `top` most probable classes by logits (n, K)."""
    exact = logits.astype(numpy.float64)
    probabilities = numpy.exp(exact - numpy.logaddexp.reduce(exact, axis=1, keepdims=True))
    order = numpy.argsort(-exact, axis=1, kind="stable")[:, :top]
    chosen = numpy.take_along_axis(probabilities, order, axis=1)
    return [Answer(*row) for row in zip(images, labels, order.tolist(), chosen.tolist(), strict=True)]


def line(answer: Answer, names: Sequence[str]) -> str:
    """`cat.jpg   cat 0.981, dog 0.012`"""
    pairs = zip(answer.classes, answer.probabilities, strict=True)
    return f"{answer.image}   {', '.join(f'{names[c]} {p:.3f}' for c, p in pairs)}"


def table(found: Sequence[Answer], names: Sequence[str], columns: Sequence[str], form: str) -> str:
    """A table as text, a row an image.

    Args:
        found: at least one answer.
        columns: image, id (its name without folder and ending), and class, label (its number) and probability, which
            come again with _2, _3, ... for each further class of the answers.
        form: "csv", with a head, or "jsonl", lines of JSON.
    """
    rows = []
    for image, _, classes, probabilities in found:
        row: dict[str, Any] = {"image": image, "id": PurePath(image).stem}
        for rank, (number, probability) in enumerate(zip(classes, probabilities, strict=True), start=1):
            end = "" if rank == 1 else f"_{rank}"
            row |= {f"class{end}": names[number], f"label{end}": number, f"probability{end}": round(probability, 6)}
        wanted = [f"{name}_{rank}" if rank > 1 else name for rank in range(1, len(classes) + 1) for name in columns]
        rows.append({name: row[name] for name in wanted if name in row})
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return as_csv(rows[0], rows)

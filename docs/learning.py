"""Draw docs/results/NAME.svg: validation accuracy over training, with a band over the seeds of each procedure.

python -m docs.learning NAME runs/SWEEP ...      a band for each sweep; the values are kept in docs/results/NAME.csv
python -m docs.learning NAME                     draw the values of that file again
"""

import csv
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from docs.curves import HEIGHT, WIDTH, svg, text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
TITLE = "top-1 of the validation images: mean, lowest and highest of the seeds"
COLOURS = ("#3b6ea8", "#c98b3a", "#6a9c5b", "#8d6aa6", "#b5525c", "#4f9a9a", "#777777")
TOP, BOTTOM, LEFT, LABELS = 60, 660, 80, 230  # pixels
PANEL = WIDTH - LEFT - LABELS


class Point(NamedTuple):
    """The accuracy of one run after an epoch."""

    procedure: str
    seed: str
    epoch: int
    val_top1: float


def read_runs(sweeps: Iterable[Path]) -> list[Point]:
    """The points of the jobs of sweeps. A sweep's folder is called PREFIX_PROCEDURE; a job stands for a seed."""
    points = []
    for sweep in sweeps:
        for number, job in enumerate(sorted(path.parent for path in sweep.glob("*/metrics.csv"))):
            with open(job / "metrics.csv") as file:
                rows = [row for row in csv.DictReader(file) if row["epoch"] and row["val_top1"]]
            name = sweep.name.partition("_")[2] or sweep.name
            points += [Point(name, str(number), int(row["epoch"]), round(float(row["val_top1"]), 4)) for row in rows]
    return points


def read(file: Path) -> list[Point]:
    with open(file) as opened:
        rows = list(csv.DictReader(opened))
    return [Point(row["procedure"], row["seed"], int(row["epoch"]), float(row["val_top1"])) for row in rows]


def write(file: Path, points: Iterable[Point]) -> None:
    with open(file, "w", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(Point._fields)
        writer.writerows(points)


def draw(points: list[Point]) -> str:
    """The text of the picture."""
    names = list(dict.fromkeys(point.procedure for point in points))
    epochs = max(point.epoch for point in points)
    values = [point.val_top1 for point in points]
    low, high = int(min(values) * 10) / 10, -int(-max(values) * 10 - 1) / 10

    def y(value: float) -> float:
        return BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)

    def x(epoch: int) -> float:
        return LEFT + (epoch - 1) / max(epochs - 1, 1) * PANEL

    lines = [text(LEFT, TOP - 24, TITLE, "#222222", size=22, bold=True)]
    for tenth in range(round(low * 10), round(high * 10) + 1):
        height = y(tenth / 10)
        lines.append(f'<path d="M{LEFT:.1f} {height:.1f}h{PANEL:.1f}" stroke="#dddddd"/>')
        lines.append(text(LEFT - 10, height + 7, f"{tenth / 10:.1f}", "#666666", size=20, end=True))
    lines += [text(x(epoch) - 6, BOTTOM + 30, str(epoch), "#666666", size=20) for epoch in range(1, epochs + 1)]
    for name, colour in zip(names, COLOURS, strict=False):
        lines += _band([point for point in points if point.procedure == name], colour, x, y)
    lines.append(text(LEFT, HEIGHT - 8, "epoch", "#666666", size=20))
    ends = {name: fmean(p.val_top1 for p in points if p.procedure == name and p.epoch == epochs) for name in names}
    last = 0.0
    for name in sorted(names, key=lambda name: -ends[name]):
        last = max(y(ends[name]), last + 24)  # labels must not overlap
        colour = COLOURS[names.index(name)]
        lines.append(text(WIDTH - LABELS + 8, last + 7, f"{name} {ends[name]:.3f}", colour, size=20, bold=True))
    return svg(lines)


def _band(points: list[Point], colour: str, x: Callable[[int], float], y: Callable[[float], float]) -> list[str]:
    """A curve of the mean over seeds, and an area from the lowest to the highest."""
    middle, lowest, highest = list[str](), list[str](), list[str]()
    for epoch in sorted({point.epoch for point in points}):
        values = [point.val_top1 for point in points if point.epoch == epoch]
        for curve, value in ((middle, fmean(values)), (lowest, min(values)), (highest, max(values))):
            curve.append(f"{x(epoch):.1f},{y(value):.1f}")
    return [
        f'<polygon points="{" ".join([*highest, *reversed(lowest)])}" fill="{colour}" fill-opacity="0.25"/>',
        f'<polyline points="{" ".join(middle)}" fill="none" stroke="{colour}" stroke-width="2.5"/>',
    ]


if __name__ == "__main__":
    name, *sweeps = sys.argv[1:]
    file = RESULTS / f"{name}.csv"
    if sweeps:
        RESULTS.mkdir(exist_ok=True)
        write(file, read_runs(map(Path, sweeps)))
    file.with_suffix(".svg").write_text(draw(read(file)))

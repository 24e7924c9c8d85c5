"""The figures of Bianco et al. 2018 (arXiv 1810.00736), of the rows of lineage compare: accuracy by operations, by
parameters and by speed, and memory by batch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator
from matplotlib.transforms import Bbox

from lineage.analysis.charts import MOST, logarithmic, panel
from lineage.analysis.networks import Row, batches_of
from lineage.text import visible

AREA = 20e-6  # square points of a ball for each parameter
LETTERS = 11  # points, of a network's name
LINE = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7}  # to a name that stands further off
NAME: dict[str, Any] = {"fontsize": LETTERS, "in_layout": False, "arrowprops": LINE}
KEY: dict[str, Any] = {"fontsize": LETTERS, "in_layout": False}
WITH_PREFIX = EngFormatter(sep="\u202f")
SIZES = (1e6, 10e6, 50e6, 100e6)  # parameters, of the balls in the key


Point = tuple[float, float]
Mark = tuple[Point, float, str]  # of a chart, the radius of what is drawn there in points, and its name


def balls(rows: Sequence[Row], quantity: str) -> Figure:
    """Accuracy, top1 or top5, by multiply-adds; a ball's area is its number of parameters."""
    title = f"{quantity.replace('top', 'top-')} accuracy, %"
    figure, axes = panel(title, "multiply-adds of an image", _size(rows))
    marks = _draw(axes, rows, quantity, "macs", lambda row: AREA * row["parameters"])
    axes.set_title(title, pad=36)
    for x, size in zip((0.6, 0.66, 0.73, 0.82), SIZES, strict=True):  # the key is above, where no network lies
        place, radius = (x, 1 + 28 / 72 / figure.get_figheight()), math.sqrt(AREA * size) / 2
        axes.scatter(*place, AREA * size, "#bbbbbb", transform=axes.transAxes, linewidths=0, clip_on=False)
        words = f"{size / 1e6:.0f} M" + " parameters" * (size == SIZES[-1])
        axes.annotate(words, place, (radius + 3, 0), "axes fraction", "offset points", va="center", **KEY)
    _name(axes, marks)
    return figure


def speed(machines: Mapping[str, Sequence[Row]], batch: int) -> Figure:
    """Top-1 by images per second, a panel for each machine."""
    width, height = _size(max(machines.values(), key=len))
    figure, column = Figure(figsize=(width, height * len(machines))), f"images_per_second_{batch}"
    panels = figure.subplots(len(machines), squeeze=False)[:, 0]
    marks = []
    for axes, (machine, rows) in zip(panels, machines.items(), strict=True):
        axes.set(title=f"top-1 accuracy, %: {visible(machine)}", xlabel=f"images per second, {batch} at once")
        axes.grid(axis="y")
        marks.append(_draw(axes, rows, "top1", column, lambda row: 60.0))
    for axes, found in zip(panels, marks, strict=True):  # when all have their place
        _name(axes, found)
    return figure


def density(rows: Sequence[Row]) -> Figure:
    """Top-1 percent for each million parameters, largest first."""
    known = {row["name"]: 100e6 * row["top1"] / row["parameters"] for row in rows if row.get("top1") is not None}
    names = sorted(known, key=lambda name: known[name])
    figure, axes = panel("top-1 accuracy per million parameters, %", "", (12.8, 1.6 + 0.24 * len(names)))
    bars = axes.barh([visible(name) for name in names], [known[name] for name in names])
    axes.bar_label(bars, [f"{known[name]:.3g}" for name in names], padding=4, fontsize=LETTERS)
    axes.tick_params(axis="y", labelsize=LETTERS, length=0)
    axes.grid(visible=False)
    axes.margins(y=0.01)
    axes.xaxis.set_visible(False)
    axes.spines.bottom.set_visible(False)
    return figure


def memory(rows: Sequence[Row]) -> Figure:
    """Bytes at most by the images of a batch, a line a network, named at its end."""
    batches = batches_of(rows)
    lines = {row["name"]: [(n, row[f"memory_{n}"]) for n in batches if row.get(f"memory_{n}")] for row in rows}
    lines = {name: points for name, points in lines.items() if points}
    figure, axes = panel("memory, bytes at most", "images at once", (12.8, max(7.2, 1.6 + 0.2 * len(lines))))
    for place, points in enumerate(lines.values()):
        axes.plot(*zip(*points, strict=True), "o-", color=f"C{place % MOST}", linewidth=1.5, markersize=4)
    if lines:
        logarithmic(axes.yaxis, WITH_PREFIX)
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(batches) / 1.1, max(batches) * 2 ** (0.8 + 0.9 * len(batches)))
        axes.xaxis.set_major_locator(FixedLocator(batches))
        axes.xaxis.set_major_formatter("{x:g}")
        _name_ends(axes, {visible(name): points[-1] for name, points in lines.items()})
    return figure


def _size(rows: Sequence[Row]) -> tuple[float, float]:
    """Inches of a chart on which this many names have room."""
    return 12.8, max(7.2, 4.5 + 0.1 * len(rows))


def _draw(axes: Axes, rows: Sequence[Row], quantity: str, column: str, area: Any) -> list[Mark]:
    """Discs of the accuracies that are known on a logarithmic axis, coloured by what they are accuracies of."""
    known = [row for row in rows if row.get(quantity) is not None and row.get(column) is not None]
    groups = [str(row["accuracy_of"]).partition(" (")[0] for row in rows if row.get("accuracy_of")]
    for place, group in enumerate(sorted(set(groups))):  # of all rows, so that a colour means the same in all charts
        members = [row for row in known if str(row["accuracy_of"]).partition(" (")[0] == group]
        members.sort(key=area, reverse=True)  # small ones are drawn over large ones
        x, y = [row[column] for row in members], [100 * row[quantity] for row in members]
        colour = f"C{place}" if place < MOST else "#999999"
        axes.scatter(x, y, list(map(area, members)), colour, alpha=0.5, linewidths=0)
        if members:
            axes.scatter([], [], 60, colour, label=visible(group))  # for the key, of one size
    if known:
        logarithmic(axes.xaxis, WITH_PREFIX)
        axes.margins(0.08)
        axes.legend(loc="upper left", fontsize=LETTERS)
    return [((row[column], 100 * row[quantity]), math.sqrt(area(row)) / 2, visible(row["name"])) for row in known]


# ---- names that do not overlap


def _name(axes: Axes, marks: Sequence[Mark]) -> None:
    """Write each name at the nearest place to its mark that is free of names and marks; further off with a line."""
    figure: Any = axes.figure
    figure.draw_without_rendering()
    frame, pixel = axes.get_window_extent(), figure.dpi / 72
    places = [(*axes.transData.transform(point), radius * pixel) for point, radius, _ in marks]
    taken = [Bbox.from_bounds(x - 0.6 * r, y - 0.6 * r, 1.2 * r, 1.2 * r) for x, y, r in places]
    taken += [item.get_window_extent() for item in (*axes.texts, axes.get_legend()) if item]
    for (point, _, name), (x, y, radius) in sorted(zip(marks, places, strict=True), key=lambda pair: pair[1][2]):
        text = axes.annotate(name, point, (0, 0), textcoords="offset points", ha="center", va="center", **NAME)
        extent = text.get_window_extent()
        width, height = extent.width + 6, extent.height
        for dx, dy in _around(radius, width / 2, height / 2):
            box = Bbox.from_bounds(x + dx - width / 2, y + dy - height / 2, width, height)
            inside = frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1)
            if inside and not any(map(box.overlaps, taken)):
                taken.append(box)
                text.set_position((dx / pixel, dy / pixel))
                break
        else:
            text.remove()  # its row of the table names it


def _around(radius: float, half_width: float, half_height: float) -> Iterator[Point]:
    """Of a name's middle from that of its mark: beside it, then in eight directions at growing distances."""
    for distance in range(3, 400, 4):
        for turn in (0, 180, 90, 270, 45, 135, 225, 315):
            x, y = round(math.cos(math.radians(turn)), 1), round(math.sin(math.radians(turn)), 1)
            side = (x > 0) - (x < 0)
            yield x * (radius + distance) + side * half_width, y * (radius + distance + half_height)


def _name_ends(axes: Axes, ends: Mapping[str, Point]) -> None:
    """Write the names of lines right of their ends, in the order of these and one above the other."""
    figure: Any = axes.figure
    figure.draw_without_rendering()
    order = sorted(ends, key=lambda name: ends[name][1])
    frame, steps = axes.get_window_extent(), 1.25 * LETTERS * figure.dpi / 72 * numpy.arange(len(order))
    wanted = numpy.array([axes.transData.transform(ends[name])[1] for name in order]) - steps
    heights = numpy.maximum.accumulate(wanted).clip(frame.y0, frame.y1 - steps[-1]) + steps
    right = 1.3 * max(x for x, _ in ends.values())
    for name, height in zip(order, heights, strict=True):
        place = right, axes.transData.inverted().transform((0, height))[1]
        axes.annotate(name, ends[name], place, va="center", **NAME | {"arrowprops": LINE | {"relpos": (0, 0.5)}})

"""Charts in the style of chart.mplstyle: as files of SVG, or within a page, where they take its colours."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from textwrap import shorten
from typing import Any

import matplotlib.style
import numpy
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy import ndarray
from PIL import Image

from lineage.analysis import measures
from lineage.analysis.measures import Calibration
from lineage.analysis.record import Record
from lineage.text import visible

matplotlib.style.use(Path(__file__).with_name("chart.mplstyle"))

GROUND = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}  # of letters over points
SMALL = (6.4, 4.0)  # inches of a chart that stands beside another one
NAMED = 40  # classes, up to which a matrix of them has names
MOST = 7  # curves of a chart, one for each colour
Curves = Mapping[str, Mapping[float, Sequence[float]]]  # by name and epoch, the values of all seeds

# What a page has no use for, and the colours that it has its own of (pages/templates/page.css).
NEEDLESS = (
    r'(?s)^.*?(?=<svg)|<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>| xmlns(:\w+)?=\S*"| version=\S*"|\n'
    r'| (width|height)="[\d.]+pt"| id="[\w.]+_\d+"| font-family: [^;]*;| transform="rotate\(-0 .*?"'
)
COLOURS = [str(colour).lower() for colour in matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]]
OURS = {colour: f"var(--c{place})" for place, colour in enumerate(COLOURS)}
OURS |= {"#000000": "currentColor", "#999999": "var(--soft)", "#ffffff": "var(--ground)", "#dddddd": "var(--line)"}


def save(figure: Figure, file: Path, description: str = "") -> None:
    """Write an SVG that has the same bytes at any time; its metadata hold the description."""
    figure.savefig(file, metadata={"Date": None, "Creator": None, "Description": description})


def inline(figure: Figure, description: str) -> Markup:
    """The chart as HTML, in the page's font and colours, with a description for those who cannot see it."""
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the page's font has letters that matplotlib's lacks
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(NEEDLESS, "", text.getvalue())
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(?<=\.\d\d)\d+", "", tag[0]), svg)
    svg = re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda found: OURS.get(found[0], found[0]), svg)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(visible(description))}"', 1)
    return Markup(svg) + _legend(figure)


def _legend(figure: Figure) -> Markup:
    """The names of the curves, below the chart, where they may take several lines."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        entries |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    found = Markup("")
    for label, handle in entries.items() if len(entries) > 1 else ():
        colour = to_hex(handle.get_color() if isinstance(handle, Line2D) else handle.get_facecolor()[0])
        found += Markup('<li style="--c:{}">{}</li>').format(OURS.get(colour, colour), label)
    return Markup('<ul class="legend">{}</ul>').format(found)


def curves(
    series: Curves, title: str, *, small: bool = True, stops: Sequence[float] = (), best: bool = False
) -> Figure:
    """Lines over epochs: means over seeds, with a band from the lowest to the highest.

    Args:
        small: whether it stands in a page, which writes the names of the curves below it.
        stops: epochs at which the run was stopped and continued, as ticks on the axis.
        best: whether to mark the highest point of the first curve.
    """
    figure, axes = panel(title, "epoch", SMALL if small else None, stops)
    for name, points in series.items():
        epochs, values, means = list(points), list(points.values()), list(map(fmean, points.values()))
        mark = "o" if len(epochs) == 1 else "-"
        axes.plot(epochs, means, mark, label=f"{visible(name)}: {means[-1]:.3f}")
        if max(map(len, values)) > 1:
            axes.fill_between(epochs, list(map(min, values)), list(map(max, values)), alpha=0.25, linewidth=0)
    if best:
        epoch, (value, *_) = max(next(iter(series.values())).items(), key=lambda point: point[1][0])
        axes.plot([epoch], [value], "ko", markersize=9, markerfacecolor="none", label=f"best, epoch {epoch:.0f}")
    if not small:
        figure.legend(loc="outside right upper")
    return figure


def rate_and_resolution(rates: Mapping[float, float], sides: Mapping[float, float], stops: Sequence[float]) -> Figure:
    """The learning rate on a logarithmic axis, and the side of the images on another one if it changes."""
    figure, axes = panel("learning rate" + (" and resolution" if sides else ""), "epoch", stops=stops)
    axes.step(list(rates), list(rates.values()), label="learning rate")
    logarithmic(axes.yaxis)
    if sides:
        other = axes.twinx()
        other.step(list(sides), list(sides.values()), "C4", linestyle="--", label="pixels")
        other.set_ylim(0)
    return figure


def rate_range(rates: Sequence[float], losses: Sequence[float], smooth: Sequence[float], chosen: float) -> Figure:
    """The loss of steps at growing learning rates, smoothed too, and the rate to try."""
    figure, axes = panel("loss of a step", "learning rate", None)
    axes.set_ylim(0.95 * min(smooth), 1.1 * max(smooth[0], smooth[-1]))
    axes.plot(rates, losses, color="#bbbbbb", linewidth=1)
    axes.plot(rates, smooth, label="smoothed")
    axes.axvline(chosen, color="C4", linestyle="--", label=f"to try: {chosen:.2g}")
    logarithmic(axes.xaxis)
    axes.legend()
    return figure


def confusion(record: Record) -> Image.Image:
    """A row for each true class, a column for each prediction; the darker, the larger the share of the row."""
    names = [shorten(visible(name), 24) for name in record.classes]
    counts = measures.confusion(record.label, record.predicted, len(names))
    figure = Figure(figsize=(9, 9))
    axes = figure.subplots()
    axes.imshow((counts / numpy.maximum(counts.sum(axis=1, keepdims=True), 1)) ** 0.5, "Blues")
    axes.set(xlabel="prediction", ylabel="class")
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=min(15, 360 / len(names)))
        axes.set_yticks(range(len(names)), names, fontsize=min(15, 360 / len(names)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(numpy.asarray(canvas.buffer_rgba())[..., :3])


def panel(
    title: str, label: str, size: tuple[float, float] | None = SMALL, stops: Sequence[float] = ()
) -> tuple[Figure, Axes]:
    """A chart with one pair of axes; label: of the horizontal one, which has ticks at the stops."""
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.set(title=title, xlabel=label)
    axes.grid(axis="y")
    if label == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for stop in stops:
        axes.plot([stop], [0], "k|", markersize=14, transform=axes.get_xaxis_transform(), clip_on=False)
    return figure, axes


def logarithmic(axis: Any, formatter: Any = "{x:g}") -> None:
    """With plain numbers at each decade, and between them at 2 and 5 if there are few."""
    low, high = axis.get_data_interval()
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 2, 5)))
    axis.set_major_formatter(formatter)
    axis.set_minor_formatter(NullFormatter())


def reliability(before: Calibration, after: Calibration) -> Figure:
    """Accuracy by confidence; the area of a point is its number of images."""
    figure, axes = panel("share of right answers", "probability of the answer")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.plot([0, 1], [0, 1], color="k", linewidth=1, linestyle="--")
    for name, found, colour, marker in (("as it is", before, "C0", "o"), ("rescaled", after, "C4", "D")):
        full = found.images > 0
        area = 30 + 270 * found.images[full] / max(found.images.max(), 1)
        axes.scatter(found.confidence[full], found.accuracy[full], area, colour, marker=marker, alpha=0.75, label=name)
    return figure


def scatter(points: Mapping[str, Sequence[tuple[float, float]]], title: str, label: str) -> Figure:
    """Points (x, y) of up to MOST groups with names, in colours; those of further ones in grey."""
    figure, axes = panel(title, label)
    for place, (name, members) in enumerate(points.items()):
        grey = place >= MOST
        x, y = numpy.array(members).reshape(-1, 2).T
        axes.scatter(x, y, 40, "#999999" if grey else f"C{place}", alpha=0.75, label="" if grey else visible(name))
    logarithmic(axes.xaxis, EngFormatter(sep="\u202f"))
    return figure


def effect(points: Mapping[str, Sequence[float]], key: str) -> Figure:
    """Values by those of a key, numbers in their order, and a line through the means."""
    figure, axes = panel("top-1", visible(key))
    values = sorted(points, key=order)
    for place, value in enumerate(values):
        axes.plot([place] * len(points[value]), points[value], "o", color="C0", alpha=0.5)
    axes.plot(range(len(values)), [fmean(points[value]) for value in values], "C4")
    some = range(0, len(values), -(-len(values) // 8))
    axes.set_xticks(some, [visible(values[place]) for place in some])
    return figure


def order(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text


def neighbourhood(places: ndarray, label: ndarray, names: Sequence[str], marked: Sequence[int]) -> Figure:
    """Images at (n, 2) places: marked classes in colour, with their names in their midst, the others in grey."""
    figure = Figure(figsize=(6.4, 6.0))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.scatter(places[:, 0], places[:, 1], 9, "#999999", alpha=0.6, linewidths=0)
    for place, one in enumerate(marked[:MOST]):
        own = places[label == one]
        axes.scatter(own[:, 0], own[:, 1], 14, f"C{place}", linewidths=0)
        x, y = numpy.median(own, axis=0)
        axes.text(x, y, visible(names[one]), ha="center", va="center", weight="bold", bbox=GROUND)
    return figure

"""Charts in the style of chart.mplstyle: as files of SVG, or within a page, where they take its colours."""

import io
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import matplotlib.style
import numpy
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy import ndarray

from lineage.analysis.measures import Calibration

matplotlib.style.use(Path(__file__).with_name("chart.mplstyle"))

GROUND = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}  # of letters over points
SMALL = (6.4, 4.0)  # inches of a chart that stands beside another one
MOST = 7  # curves of a chart, one for each colour
Size = tuple[float, float]
Curves = Mapping[str, Mapping[float, Sequence[float]]]  # by name and epoch, the values of all seeds

# What a page has no use for, and the colours that it has its own of (templates/page.css).
NEEDLESS = (
    r'(?s)^.*?(?=<svg)|<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>| xmlns(:\w+)?=\S*"| version=\S*"|\n'
    r'| (width|height)="[\d.]+pt"| id="[\w.]+_\d+"| font-family: [^;]*;| transform="rotate\(-0 .*?"|(?<=\.\d\d)\d+'
)
COLOURS = [str(colour).lower() for colour in matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]]
OURS = {colour: f"var(--c{place})" for place, colour in enumerate(COLOURS)}
OURS |= {"#000000": "currentColor", "#ffffff": "var(--ground)", "#dddddd": "var(--line)"}


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
    svg = re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda found: OURS.get(found[0], found[0]), svg)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(printable(description))}"', 1))


def printable(text: str) -> str:
    """The text without what a page cannot hold or a reader cannot see: control characters, turned directions, and bytes
    of file names that are no UTF-8."""
    return "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Cn") else letter for letter in text)


def curves(series: Curves, title: str, size: Size | None = SMALL, stops: Sequence[float] = ()) -> Figure:
    """Lines over epochs, the highest end first: means over seeds, with a band from the lowest to the highest.

    Args:
        stops: epochs at which the run was stopped and continued, as ticks on the axis.
    """
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.set(xlabel="epoch", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    means = {name: [fmean(values) for values in points.values()] for name, points in series.items() if points}
    for name in sorted(means, key=lambda name: -means[name][-1]):
        epochs, values = list(series[name]), list(series[name].values())
        mark = "o" if len(epochs) == 1 else "-"
        axes.plot(epochs, means[name], mark, label=f"{printable(name)} {means[name][-1]:.3f}")
        if max(map(len, values)) > 1:
            axes.fill_between(epochs, list(map(min, values)), list(map(max, values)), alpha=0.25, linewidth=0)
    _mark(axes, stops)
    figure.legend(loc="outside lower center" if size else "outside right upper", ncols=2 if size else 1)
    return figure


def rate_and_resolution(rates: Mapping[float, float], sides: Mapping[float, float], stops: Sequence[float]) -> Figure:
    """The learning rate on a logarithmic axis, and the side of the images on another one if it changes."""
    figure = Figure(figsize=SMALL)
    axes = figure.subplots()
    axes.set(xlabel="epoch", title="learning rate" + (" and resolution" if sides else ""))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    _logarithmic(axes.yaxis)
    axes.step(list(rates), list(rates.values()), where="mid", label="learning rate")
    _mark(axes, stops)
    if sides:
        other = axes.twinx()
        other.step(list(sides), list(sides.values()), "C4", where="mid", linestyle="--", label="pixels")
        other.set_ylim(0)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _mark(axes: Axes, stops: Sequence[float]) -> None:
    """Ticks on the horizontal axis."""
    for stop in stops:
        axes.plot([stop], [0], "k|", markersize=14, transform=axes.get_xaxis_transform(), clip_on=False)


def _logarithmic(axis: Axis) -> None:
    """With ticks as plain numbers, at 1, 2 and 5 of each decade."""
    axis._set_axes_scale("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def reliability(before: Calibration, after: Calibration) -> Figure:
    """Accuracy by confidence; the area of a point is its number of images."""
    figure = Figure(figsize=SMALL)
    axes = figure.subplots()
    axes.set(xlabel="probability of the answer", title="share of right answers", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.grid(axis="both")
    axes.plot([0, 1], [0, 1], color="k", linewidth=1, linestyle="--")
    for name, found, colour, marker in (("as it is", before, "C0", "o"), ("rescaled", after, "C4", "D")):
        full = found.images > 0
        area = 30 + 270 * found.images[full] / max(found.images.max(), 1)
        axes.plot(found.confidence[full], found.accuracy[full], colour, linewidth=1.2)
        axes.scatter(found.confidence[full], found.accuracy[full], area, colour, marker, alpha=0.75, label=name)
    figure.legend(loc="outside lower center", ncols=2, markerscale=0.5)
    return figure


def class_counts(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Images by class of each split, the largest class of the first split first."""
    figure = Figure(figsize=SMALL)
    axes = figure.subplots()
    axes.set(xlabel="classes, the largest first", title="images of a class", xticks=[])
    axes.grid(axis="y")
    order = sorted(range(len(next(iter(counts.values())))), key=lambda label: -next(iter(counts.values()))[label])
    for name, numbers in counts.items():
        axes.fill_between(range(len(order)), [numbers[label] for label in order], step="mid", alpha=0.75, label=name)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def scatter(points: Mapping[str, Sequence[tuple[float, float]]], title: str, label: str, log: bool = False) -> Figure:
    """Points (x, y) of up to MOST groups with names, in colours; those of further ones, or of "", in grey."""
    figure = Figure(figsize=SMALL)
    axes = figure.subplots()
    axes.set(xlabel=label, title=title)
    axes.grid(axis="both")
    if log:
        _logarithmic(axes.xaxis)
    for place, (name, members) in enumerate(points.items()):
        grey = not name or place >= MOST
        x, y = zip(*members, strict=True)
        axes.scatter(x, y, 40, "#999999" if grey else f"C{place}", alpha=0.75, label="" if grey else printable(name))
    if 1 < len(points) <= MOST:
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def neighbourhood(places: ndarray, label: ndarray, names: Sequence[str], marked: Sequence[int]) -> Figure:
    """Images at (n, 2) places: marked classes in colour, with their names in their midst, the others in grey."""
    figure = Figure(figsize=(6.4, 6.0))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.scatter(*places.T, s=9, c="#999999", alpha=0.6, linewidths=0)
    for place, one in enumerate(marked[:MOST]):
        own = places[label == one]
        axes.scatter(*own.T, s=14, c=f"C{place}", linewidths=0)
        x, y = numpy.median(own, axis=0)
        axes.text(x, y, printable(names[one]), ha="center", va="center", weight="bold", bbox=GROUND)
    return figure

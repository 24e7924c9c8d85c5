"""The course of a search, as in Figure 6 of NASNet's paper (arXiv 1707.07012)."""

from bisect import insort
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lineage.analysis.charts import panel
from lineage.text import visible

STYLES = {1: "-", 5: "--", 25: ":"}  # of the mean of so many best
POINTS = 500  # of a line, at most


def means_of_best(values: Sequence[float], count: int) -> dict[int, float]:
    """The mean of the `count` best values so far, by how many there are."""
    best: list[float] = []
    found = {}
    for number, value in enumerate(values, start=1):
        insort(best, value)
        del best[:-count]
        if number >= count:
            found[number] = fmean(best)
    return found


def course(searches: Mapping[str, Sequence[float]], title: str) -> Figure:
    """For each search the best value so far and the means of the 5 and 25 best, by how many there are."""
    figure, axes = panel(title, "finished jobs")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for place, (name, values) in enumerate(searches.items()):
        axes.plot([], [], f"C{place}", label=f"{visible(name)}: {max(values):.3f}")
        for count, style in STYLES.items():
            line = means_of_best(values, count)
            some = list(line)[:: max(1, len(line) // POINTS)] + list(line)[-1:]
            axes.plot(some, [line[number] for number in some], style, color=f"C{place}")
    return figure

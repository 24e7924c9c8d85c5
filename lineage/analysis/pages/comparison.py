"""The page of a sweep, or of runs beside each other: means over seeds, curves, the effect of each key, and cost."""

import csv
import io
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, stdev
from typing import Any, NamedTuple
from urllib.parse import quote

from markupsafe import Markup
from scipy.stats import binomtest

from lineage.analysis import charts
from lineage.analysis.pages.rendering import render
from lineage.analysis.pages.run_files import RunFiles
from lineage.errors import UserError

COLUMNS = ("seed", "val_top1", "test_top1", "test_loss", "parameters", "macs", "seconds", "images_per_second")
COSTS = {"macs": "multiply-adds of an image", "seconds": "seconds of training"}
NOT_COMPARED = ("run", "runs", "seed")
FEW = 5  # runs, up to which their answers are compared in pairs


class Group(NamedTuple):
    """Runs that differ in their seed alone."""

    name: str
    runs: list[RunFiles]

    def values(self, key: str) -> list[float]:
        return [run.results[key] for run in self.runs if run.results[key] is not None]

    def mean(self, key: str) -> float:
        return fmean(self.values(key) or [float("nan")])

    def spread(self, key: str) -> float:
        """The deviation of a sample; 0 of a single value."""
        return stdev(self.values(key)) if len(self.values(key)) > 1 else 0.0


def comparison_page(files: Sequence[RunFiles], title: str) -> str:
    """The text of the page. Raises UserError: a file is damaged, or no run is finished."""
    done = [run for run in files if run.results["test_top1"] is not None]
    if not done:
        raise UserError(f"{title}: none of these runs is finished.")
    by = "val_top1" if all(run.results["val_top1"] is not None for run in done) else "test_top1"
    done.sort(key=lambda run: -run.results[by])
    settings = {run.name: _settings(run) for run in done}
    keys = [key for key in dict.fromkeys(key for one in settings.values() for key in one) if key not in NOT_COMPARED]
    varied = [key for key in keys if len({one.get(key) for one in settings.values()}) > 1]
    groups = _groups(done, settings, varied, by)
    ends = [value for group in groups for value in group.values("test_top1")]
    effects = [_effect(key, done, settings, by) for key in varied if len(done) > 2]
    costs = [_cost(groups, key, label, by) for key, label in COSTS.items() if len({g.mean(key) for g in groups}) > 1]
    return render(
        "comparison.html", title=title, groups=groups, by=by, low=min(ends), high=max(ends),
        unfinished=[run.name for run in files if run not in done], curves=_curves(groups[: charts.MOST]),
        effects=effects, costs=costs, pairs=_pairs(done) if len(done) <= FEW else [],
        done=done, settings=settings, varied=varied, table=_csv(done, settings, varied),
    )  # fmt: skip


def _settings(run: RunFiles) -> dict[str, str]:
    """What the run's command chose."""
    chosen = {key: run.results[key] for key in ("arch", "datamodule", "recipe") if run.results[key]}
    return {**chosen, **dict(word.lstrip("+").split("=", 1) for word in run.results["overrides"] if "=" in word)}


def _groups(done: list[RunFiles], settings: dict[str, dict[str, str]], varied: list[str], by: str) -> list[Group]:
    """The runs by what varies, best mean first."""
    found: dict[tuple[str, ...], list[RunFiles]] = {}
    for run in done:
        own = settings[run.name]
        found.setdefault(tuple(f"{key.rpartition('.')[2]}={own[key]}" for key in varied if key in own), []).append(run)
    by_name = len(found) == len(done) <= FEW
    groups = [Group(runs[0].name if by_name else " ".join(words) or "all", runs) for words, runs in found.items()]
    return sorted(groups, key=lambda group: -group.mean(by))


def _curves(groups: Sequence[Group]) -> list[Markup]:
    found = []
    for metric, title in (("val_top1", "top-1 of validation"), ("val_loss", "loss of validation")):
        series = {}
        for group in groups:
            points: dict[float, list[float]] = {}
            for run in group.runs:
                for epoch, values in run.curve(metric).items():
                    points.setdefault(epoch, []).extend(values)
            if points:
                series[group.name] = points
        if series:
            figure = charts.curves(series, title)
            found.append(charts.inline(figure, f"{title} by epoch: mean of the seeds, lowest and highest"))
    return found


def _effect(key: str, done: list[RunFiles], settings: dict[str, dict[str, str]], by: str) -> Markup:
    """Accuracy by the values of a key, whatever the others are."""
    points: dict[str, list[float]] = {}
    for run in done:
        points.setdefault(settings[run.name].get(key, "default"), []).append(run.results[by])
    means = ", ".join(f"{value}: {fmean(values):.4f}" for value, values in points.items())
    return charts.inline(charts.effect(points, key), f"top-1 by {key}, on average {means}")


def _cost(groups: Sequence[Group], key: str, label: str, by: str) -> Markup:
    points = {group.name: list(zip(group.values(key), group.values(by), strict=False)) for group in groups}
    return charts.inline(charts.scatter(points, "top-1", label), f"top-1 by {label}, a point for each run")


def _pairs(done: Sequence[RunFiles]) -> list[dict[str, Any]]:
    """How often only one of two runs is right, and how often chance alone gives such a difference (exact McNemar)."""
    found = []
    for one, other in combinations([run for run in done if run.records], 2):
        first, second = one.records[0], other.records[0]
        if first.label.tolist() != second.label.tolist():
            continue
        only = int((first.correct & ~second.correct).sum()), int((second.correct & ~first.correct).sum())
        chance = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
        neither = int((~first.correct & ~second.correct).sum())
        found.append({"names": (one.name, other.name), "only": only, "neither": neither, "chance": chance})
    return found


def _csv(done: Sequence[RunFiles], settings: dict[str, dict[str, str]], varied: Sequence[str]) -> Markup:
    """The address of a table of all runs within the page."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *varied, *COLUMNS])
    for run in done:
        chosen = [settings[run.name].get(key, "") for key in varied]
        writer.writerow([run.name, *chosen, *(run.results[key] for key in COLUMNS)])
    return Markup("data:text/csv;charset=utf-8," + quote(text.getvalue()))

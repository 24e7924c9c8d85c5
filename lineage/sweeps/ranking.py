"""The tables at the end of a sweep: its jobs by validation accuracy, means over seeds, and those that failed."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lineage.errors import UserError
from lineage.files import is_in_use, write_csv
from lineage.reporting.screen import console, show_table
from lineage.running.directory import load_results
from lineage.sweeps.jobs import Job, is_done, load_jobs, read_history
from lineage.sweeps.objectives import Objectives

NUMBERS = ("val_top1", "test_top1", "test_top5", "test_loss", "parameters", "macs", "seconds")  # of ranking.csv
SHOWN = 100  # rows on the screen
VARIED = ("seed", "datamodule.fold")  # keys over which means are taken


def show_ranking(sweep: Path, runs: Path, objectives: Objectives | None = None, stopped: bool = False) -> bool:
    """Print the tables of all jobs of a sweep, best first, and the missing ones; returns whether the sweep has ended.

    Args:
        objectives: of a search, which goes on when jobs fail; None: a grid.
        stopped: whether the sweep was left before its last job.
    """
    history = read_history(sweep)
    jobs = [event for event in history if isinstance(event, Job)]
    ended_early = {event[0] for event in history if not isinstance(event, Job) and event[1] == "pruned"}
    done = [(job, load_results(job.folder)) for job in jobs if is_done(job)]
    pruned = ended_early - {job.number for job, _ in done}  # a user may have trained one to its end
    missing = [job for job in jobs if not is_done(job) and job.number not in pruned]
    ranked = sorted(done, key=lambda entry: objectives.order(entry[1]) if objectives else -_top1(entry[1]))
    screen = console()
    screen.print()
    show_table(screen, ("", "val top-1", "test top-1", "test loss", "seconds", "no.", "job"), ranking(ranked[:SHOWN]))
    if len(ranked) > SHOWN:
        screen.print(f"and {len(ranked) - SHOWN:,} more")
    groups = by_seed(done)
    if len(groups) < len(done) and objectives is None:
        screen.print()
        show_table(screen, ("", "val top-1", "test top-1", "test loss", "runs", "jobs"), means_over_seeds(groups))
    if ranked:
        front = objectives.front([results for _, results in ranked]) if objectives and len(objectives.names) > 1 else []
        write_ranking(sweep / "ranking.csv", ranked, objectives.names if objectives else (), front)
        screen.print(f"\n{sweep}/ranking.csv", soft_wrap=True)
        if objectives and front:
            best = ", ".join(str(job.number) for (job, _), mark in zip(ranked, front, strict=True) if mark)
            screen.print(f"front of {' and '.join(objectives.names)}: {best}", soft_wrap=True, highlight=False)
    if pruned:
        screen.print(f"ended early: {', '.join(map(str, sorted(pruned)))}", soft_wrap=True, highlight=False)
    for job in missing:
        log = job.folder / "train.log"
        timed_out = log.exists() and " Stopped by " in "".join(log.read_text().splitlines()[-1:])  # by trainer.max_time
        how = "still running" if is_in_use(job.folder) else "not finished" if stopped or timed_out else "failed"
        line = f"{how}: {job.number} {job.folder.name}{f', see {log}' if log.exists() else ''}"
        screen.print(line, style="red", soft_wrap=True, highlight=False)
    name = sweep.relative_to(runs) if sweep.is_relative_to(runs) else sweep
    if missing and (stopped or objectives is None):
        screen.print(f"The same command with run={name} runs what is missing.", soft_wrap=True, highlight=False)
    elif missing:
        screen.print("Later jobs depend on those that failed; with another run=NAME they are tried again.")
    return bool(ranked) if objectives else not missing


def _top1(results: dict[str, Any]) -> float:
    """By validation; without one, last."""
    return results.get("val_top1", -1.0)


def best_values(sweep: Path, key: str, k: int) -> list[str]:
    """The values that a key has in the best jobs of a sweep, k different ones, by validation accuracy.

    Raises:
        UserError: no job of a sweep has finished, or they have no such key.
    """
    done = [(load_results(job.folder), job) for job in load_jobs(sweep) if is_done(job)]
    ranked = [job for _, job in sorted(done, key=lambda entry: -_top1(entry[0]))]
    words = [word for job in ranked for word in job.overrides if word.startswith(f"{key}=")]
    if not words:
        raise UserError(f"{sweep} is no search with results: it has no finished job with {key}.")
    return list(dict.fromkeys(word.partition("=")[2] for word in words))[:k]


def ranking(ranked: Sequence[tuple[Job, dict[str, Any]]]) -> list[list[str]]:
    rows = []
    for place, (job, results) in enumerate(ranked, start=1):
        numbers = (f"{results[n]:.4f}" if n in results else "-" for n in ("val_top1", "test_top1", "test_loss"))
        rows.append([str(place), *numbers, f"{results['seconds']:.0f}", str(job.number), job.folder.name])
    return rows


def write_ranking(
    path: Path, ranked: Sequence[tuple[Job, dict[str, Any]]], names: Sequence[str] = (), front: Sequence[bool] = ()
) -> None:
    """Write a row for each job: its place, number and directory, its numbers, and its overrides by their keys.

    Args:
        names: of further numbers, the objectives.
        front: for each job, whether it belongs to the Pareto front; empty: there is one objective.
    """
    rows = []
    for place, (job, results) in enumerate(ranked, start=1):
        words = {key.lstrip("+"): value for key, _, value in (word.partition("=") for word in job.overrides)}
        numbers = {name: results.get(name, "") for name in dict.fromkeys((*NUMBERS, *names))}
        marks = {"front": int(front[place - 1])} if front else {}
        rows.append({"place": place, "number": job.number, "job": job.folder.name, **marks, **numbers, **words})
    write_csv(path, list(dict.fromkeys(key for row in rows for key in row)), rows)


def by_seed(done: Iterable[tuple[Job, dict[str, Any]]]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The results of jobs that differ in their seed or fold alone, by their other overrides."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for job, results in done:
        others = tuple(override for override in job.overrides if override.split("=")[0] not in VARIED)
        found.setdefault(others, []).append(results)
    return found


def means_over_seeds(groups: dict[tuple[str, ...], list[dict[str, Any]]]) -> list[list[str]]:
    """Mean and deviation (of a sample, n - 1) over the seeds of each group, best mean validation accuracy first.

    A group is named by the overrides that not all have.
    """
    shared = set.intersection(*map(set, groups))
    ranked = sorted(groups.items(), key=lambda group: -fmean(map(_top1, group[1])))
    rows = []
    for place, (overrides, runs) in enumerate(ranked, start=1):
        numbers = [_mean_and_deviation(runs, key) for key in ("val_top1", "test_top1", "test_loss")]
        name = " ".join(override for override in overrides if override not in shared) or "all"
        rows.append([str(place), *numbers, str(len(runs)), name])
    return rows


def _mean_and_deviation(runs: Sequence[dict[str, Any]], key: str) -> str:
    values = [results[key] for results in runs if key in results]
    if len(values) < 2:
        return f"{values[0]:.4f}" if values else "-"
    return f"{fmean(values):.4f} ± {stdev(values):.4f}"

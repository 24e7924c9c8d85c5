"""The jobs of a sweep: their names and directories, and the search for one by name."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import yaml

from lineage.errors import UserError
from lineage.files import cannot_write, read_text, reason, write_whole
from lineage.running.directory import is_finished
from lineage.sweeps.strategies import State
from lineage.text import nearest

HISTORY = "sweep.jsonl"  # what a sweep asked for and was told, a line an event

# Keys that do not make another job: its name, and where it runs.
NOT_IN_NAME = ("run", "runs", "trainer", "logger", "hydra", "datamodule.root", "datamodule.workers")
NAMED_BY_ROOT = ("datamodule=imagefolder", "datamodule=packed")  # another root is another data set


@dataclass(frozen=True)
class Job:
    """A point that a sweep asked for: its number, the overrides of its command, and its directory."""

    number: int
    overrides: list[str]
    folder: Path


def job_name(overrides: Sequence[str], shared: Collection[str] = ()) -> str:
    """A job's directory, made of its overrides, safe in a shell and for Hydra: recipe-wrn_seed-0.

    Args:
        shared: overrides to leave out, which all jobs of the sweep have.
    """
    kept = {"datamodule.root"} if set(NAMED_BY_ROOT) & set(overrides) else set()
    keys = {override: override.split("=")[0].lstrip("+~") for override in overrides if override not in shared}
    named = sorted(override for override, key in keys.items() if key in kept or not is_left_out(key))
    plain = "_".join(override.lstrip("+~").replace("=", "-", 1) for override in named) or "default"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)
    if name != plain or len(name) > 150:  # two different names may have become equal
        name = name[:140] + "-" + hashlib.blake2b(plain.encode(), digest_size=4).hexdigest()
    return name


def is_left_out(key: str) -> bool:
    """Whether another value of a key does not make another job."""
    return key in NOT_IN_NAME or key.split(".")[0].split("/")[0] in NOT_IN_NAME


def make_jobs(sweep: Path, points: Sequence[Sequence[str]]) -> list[Job]:
    """The jobs of a grid's points, numbered from 1 on.

    They are named by the overrides that not all have. A job that the sweep has already keeps its name, and where
    another one has it, all overrides are in the name.
    """
    earlier = {job_name(job.overrides): job.folder for job in load_jobs(sweep)}
    shared = set.intersection(*map(set, points)) if len(points) > 1 else set[str]()
    jobs = []
    for number, point in enumerate(points, start=1):
        whole, short = job_name(point), sweep / job_name(point, shared)
        is_free = _name_of_words(short) in (None, whole) and short not in earlier.values()
        own = sweep / whole
        folder = earlier.get(whole) or (short if is_free and not own.exists() else own)
        jobs.append(Job(number, list(point), folder))
    return jobs


def _name_of_words(folder: Path) -> str | None:
    """The name that a run's whole command would have; None if there is no run."""
    try:
        return job_name(list(map(str, yaml.safe_load(read_text(folder / "overrides.yaml")))))
    except (OSError, ValueError, TypeError, yaml.YAMLError):
        return None


def check_each(points: Sequence[Sequence[str]], check: Callable[[Sequence[str]], None]) -> None:
    """Check all jobs before the first runs.

    Args:
        points: the words of each job.
        check: raises UserError if a job cannot work.

    Raises:
        UserError: the first wrong one, with its number and the words that not all jobs have.
    """
    shared = set[str]().union(*points[:1]).intersection(*points)
    for number, words in enumerate(points, start=1):
        try:
            check(words)
        except UserError as error:
            own = " ".join(word for word in words if word not in shared)
            place = "" if str(error).startswith(own) else f"[{number}/{len(points)}] {own}: "
            raise UserError(f"{place}{error}") from error


def check_distinct(jobs: Sequence[Job]) -> None:
    """Raise UserError if two jobs would share a directory, because they differ only in what is not part of its name."""
    first: dict[Path, Job] = {}
    for job in jobs:
        other = first.setdefault(job.folder, job)
        differs = [override for override in job.overrides if override not in other.overrides]
        if other is not job:
            what = differs[0] if differs else job.overrides[0]
            raise UserError(f"{what}: it does not make another job; such runs are started one by one, with run=NAME.")


# A job that was asked for; or the number of one, what became of it, and after how many epochs, if a strategy prunes.
Event = Job | tuple[int, State, int | None]


def save_history(sweep: Path, events: Sequence[Event]) -> None:
    """Write the history of a sweep anew."""
    sweep.mkdir(parents=True, exist_ok=True)
    write_whole(sweep / HISTORY, "".join(map(_line_of, events)))


def append(sweep: Path, event: Event) -> None:
    """Add an event to the history. Raises UserError: it cannot be written."""
    try:
        with open(sweep / HISTORY, "a", encoding="utf-8") as file:
            file.write(_line_of(event))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(cannot_write(sweep / HISTORY, error)) from error


def _line_of(event: Event) -> str:
    if isinstance(event, Job):
        return json.dumps({"job": event.folder.name, "words": event.overrides}) + "\n"
    number, state, epochs = event
    return json.dumps({"told": number, "state": state} | ({} if epochs is None else {"epochs": epochs})) + "\n"


def read_history(sweep: Path) -> list[Event]:
    """What a sweep asked for and was told, in this order. Raises UserError: the file is damaged."""
    events: list[Event] = []
    number, waiting = 0, set[int]()
    try:
        for line in read_text(sweep / HISTORY, limit=2**30).splitlines(keepends=True):
            if not line.endswith("\n"):
                break  # a kill cut it
            event = json.loads(line)
            if "told" in event:
                if event["told"] not in waiting or event["state"] not in get_args(State):
                    raise ValueError(f"what became of job {event['told']}")
                waiting.remove(event["told"])
                events.append((event["told"], event["state"], event.get("epochs")))
            else:
                number += 1
                waiting.add(number)
                events.append(Job(number, list(map(str, event["words"])), sweep / Path(event["job"]).name))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{sweep / HISTORY} is damaged ({reason(error)}): it decides what the sweep does.") from error
    return events


def load_jobs(sweep: Path) -> list[Job]:
    """The jobs of a sweep, by number. Raises UserError: its history is damaged."""
    return [event for event in read_history(sweep) if isinstance(event, Job)]


def is_search(sweep: Path) -> bool:
    """Whether a strategy was told outcomes there. Raises UserError: its history is damaged."""
    return any(not isinstance(event, Job) for event in read_history(sweep))


def find_run(runs: Path, name: str, key: str = "run", without: Path | None = None) -> Path:
    """The directory of a run by its name or the beginning of it; in a sweep by number or by an override too: first/2.

    Args:
        key: the key that names it, for messages.
        without: a folder to leave out of the search.

    Raises:
        UserError: there is none, or there are several.
    """
    exact = runs / name
    if (exact / "config.yaml").exists():
        return exact
    jobs = load_jobs(exact.parent)
    if jobs and exact.name.isdigit():
        if not 1 <= int(exact.name) <= len(jobs):
            raise UserError(f"{key}={name}: the sweep has {len(jobs)} jobs.")
        numbered = jobs[int(exact.name) - 1].folder
        if not (numbered / "config.yaml").exists():
            raise UserError(f"{key}={name}: this job, {numbered.name}, has not begun.")
        return numbered
    known = sorted(path.parent for path in runs.rglob("config.yaml") if without not in path.parents)
    names = [str(path.relative_to(runs)) for path in known]
    begun = [path for path in known if str(path.relative_to(runs)).startswith(name)]
    if not begun and "/" in name:  # an override in a job's name: first/seed-1
        begun = [path for path in known if path.parent == exact.parent and exact.name in path.name]
    if len(begun) == 1:
        return begun[0]
    if begun:
        some = ", ".join(str(path.relative_to(runs)) for path in begun[:3])
        raise UserError(f"{key}={name} is the beginning of {len(begun)} runs: {some}{', ...' * (len(begun) > 3)}.")
    raise UserError(f"{exact} holds no run.{nearest(name, names)}")


def is_done(job: Job) -> bool:
    return is_finished(job.folder)

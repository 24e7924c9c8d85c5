"""Work over many images, shared by the cores of this machine: once, before a run begins. No torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TypeVar

from lineage.datamodules.errors import DataError

LONG = 1_000  # images
Part = TypeVar("Part")
Result = TypeVar("Result")


def parallel_map(work: Callable[[Part], Result], parts: Sequence[Part]) -> Iterator[Result]:
    """work(part) of each part, in order. Process k of n makes those of every n-th from the k-th on.

    A process ends with this one, at its next result, and this one with an error if a process is killed.

    Raises:
        DataError: a process was killed.
    """
    processes = min(len(os.sched_getaffinity(0)), len(parts)) if sys.platform == "linux" else 1
    if processes < 2:
        yield from map(work, parts)
        return
    fork, ends = multiprocessing.get_context("fork"), list[Connection]()
    for k in range(processes):
        mine, its = fork.Pipe(duplex=False)
        ends.append(mine)
        with warnings.catch_warnings():  # of threads: the processes only read files and make arrays
            warnings.simplefilter("ignore", DeprecationWarning)
            fork.Process(target=_worker, args=(work, parts[k::processes], its, list(ends)), daemon=True).start()
        its.close()
    try:
        for i in range(len(parts)):
            result = ends[i % processes].recv()
            if isinstance(result, DataError):
                raise result
            yield result
    except EOFError:
        raise DataError("A process that reads images was killed; too little memory is the usual reason.") from None
    finally:
        for end in ends:
            end.close()


def announce(what: str, images: int) -> None:
    """Say what the user waits for, where it takes more than a moment."""
    if images >= LONG:
        print(f"{what} ...", file=sys.stderr, flush=True)


def _worker(work: Callable[[Part], Result], parts: Sequence[Part], its: Connection, others: list[Connection]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    for end in others:  # copies of its ends, so that writing to one that is gone fails
        end.close()
    with suppress(BrokenPipeError):
        try:
            for part in parts:
                its.send(work(part))
        except DataError as error:
            its.send(error)

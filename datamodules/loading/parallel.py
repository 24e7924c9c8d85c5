"""Work over many images on all cores, before a run begins. No torch."""

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
Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(work: Callable[[Item], Result], items: Sequence[Item], chunk: int = 1) -> Iterator[Result]:
    """work(item) of each item, in order. Process k of n works on every n-th chunk of items, from chunk k. Raises
    DataError: a process was killed.

    If this process ends, the others end at their next result.
    """
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    processes = min(len(os.sched_getaffinity(0)), len(chunks)) if sys.platform == "linux" else 1
    if processes < 2:
        yield from map(work, items)
        return
    fork, ends = multiprocessing.get_context("fork"), list[Connection]()
    for k in range(processes):
        receiver, sender = fork.Pipe(duplex=False)
        ends.append(receiver)
        with warnings.catch_warnings():  # about threads: the processes only read files and make arrays
            warnings.simplefilter("ignore", DeprecationWarning)
            fork.Process(target=_worker, args=(work, chunks[k::processes], sender, list(ends)), daemon=True).start()
        sender.close()
    try:
        for i in range(len(chunks)):
            results = ends[i % processes].recv()
            if isinstance(results, DataError):
                raise results
            yield from results
    except EOFError:
        raise DataError("A process that reads images was killed, usually for lack of memory.") from None
    finally:
        for end in ends:
            end.close()


def announce(what: str, images: int) -> None:
    """Print what the user waits for, if it takes more than a moment."""
    if images >= LONG:
        print(f"{what} ...", file=sys.stderr, flush=True)


def _worker(
    work: Callable[[Item], Result], chunks: Sequence[Sequence[Item]], sender: Connection, receivers: list[Connection]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    for end in receivers:  # inherited copies; once all are closed, a send to a parent that has ended fails
        end.close()
    with suppress(BrokenPipeError):
        try:
            for chunk in chunks:
                sender.send([work(item) for item in chunk])
        except DataError as error:
            sender.send(error)

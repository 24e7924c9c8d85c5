"""Processes that make batches, as long as the run lives: they write images into memory that the run shares with them.

A micro-batch is asked for in parts, so that all processes work on the next one, and taken in the order of asking. It is
written in place, in memory that is pinned where there is a GPU, and goes to the device without a wait.
"""

from __future__ import annotations

import math
import mmap
import multiprocessing as mp
import os
import signal
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.util import Finalize
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault, Images, View

PART = 32  # most images that a process makes at a time
STREAMS = 3  # that have batches at a time: training, an evaluation, and statistics or what another evaluation left over
LOOK_AT_PARENT = 5.0  # seconds after which an idle process sees whether the run still lives


class Job(NamedTuple):
    """What batches are made of."""

    images: Images
    view: View | None

    @property
    def needs_host(self) -> bool:
        """Whether images are made one by one, on the host."""
        return self.view is not None or not self.images.in_memory

    def shape(self, count: int, epoch: int) -> tuple[int, int, int, int]:
        """Of a batch as it comes out: (count, C, H, W)."""
        native = self.images.native
        height, width = native if self.view is None else self.view.output_size(native, epoch)  # type: ignore[misc]
        return count, self.images.channels, height, width

    def most_bytes(self, count: int, epochs: int) -> int:
        return max(math.prod(self.shape(count, epoch)) for epoch in range(epochs))


@dataclass
class PendingBatch:
    """A batch that is being made."""

    shape: tuple[int, int, int, int]
    slot: int
    parts: int
    faults: list[Fault] = field(default_factory=list)


class Pool:
    """Worker processes and the memory that they write to.

    Args:
        jobs: what to make, by name.
        workers: number of processes.
        most: bytes of the largest batch.
        ahead: batches of one job that are asked for before the first is taken.
        device: where batches go.
    """

    def __init__(self, jobs: Mapping[str, Job], workers: int, most: int, ahead: int, device: torch.device) -> None:
        self.jobs, self.ahead, self.device = dict(jobs), ahead, device
        context = mp.get_context()
        slots = ahead * STREAMS
        self.memory = _shared(most * slots, context.get_start_method() == "fork").view(slots, most)
        self.free = list(range(slots))  # the last freed is the next used: what no batch has touched takes no memory
        self.leaving: deque[tuple[Any, int]] = deque()  # slots whose content is on its way to the device
        self.pending: dict[int, PendingBatch] = {}
        tasks, self.tasks = context.Pipe(duplex=False)
        self.results, results = context.Pipe(duplex=False)
        locks = context.Lock(), context.Lock()
        arguments = (self.jobs, self.memory, tasks, results, locks, os.getpid())
        self.processes = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(workers)]
        for process in self.processes:
            process.start()
        tasks.close()
        results.close()
        self.pinned = device.type == "cuda" and _pin(self.memory)
        # Before multiprocessing sends its children the SIGTERM that these do not hear.
        Finalize(self, _end, (self.processes,), exitpriority=10)

    def submit(self, job: str, sample_keys: Tensor) -> PendingBatch:
        """Have a batch made. Raises DataError: all processes have died."""
        count = len(sample_keys)
        shape = self.jobs[job].shape(count, int(sample_keys[0, 0]) if count else 0)
        parts = (
            sample_keys.tensor_split(max(-(-count // PART), min(len(self.processes), count // 4), 1)) if count else ()
        )
        asked = PendingBatch(shape, self._slot(), len(parts))
        self.pending[asked.slot] = asked
        start = 0
        for part in parts:
            try:
                self.tasks.send((job, asked.slot, start, shape[1:], part.numpy()))
            except BrokenPipeError:  # all are dead
                self.raise_dead_worker()
            start += len(part)
        return asked

    def result(self, asked: PendingBatch) -> tuple[Tensor, list[Fault]]:
        """The images (B, C, H, W) uint8 on the device, and what could not be read.

        Raises:
            DataError: a process has died.
        """
        while asked.parts:
            self.poll()
        images = self._batch(asked)
        if self.device.type == "cuda":
            images = images.to(self.device, non_blocking=self.pinned)
            gone = torch.cuda.Event()
            gone.record(torch.cuda.current_stream(self.device))
            self.leaving.append((gone, asked.slot))
        else:
            images = images.to(self.device, copy=True)
            self.free.append(asked.slot)
        del self.pending[asked.slot]
        return images, asked.faults

    def drop(self, asked: PendingBatch) -> None:
        """Take a batch that nobody wants any more."""
        while asked.parts:
            self.poll()
        del self.pending[asked.slot]
        self.free.append(asked.slot)

    def close(self) -> None:
        _end(self.processes)

    def _slot(self) -> int:
        while self.leaving and (self.leaving[0][0].query() or not self.free):
            gone, slot = self.leaving.popleft()
            gone.synchronize()
            self.free.append(slot)
        return self.free.pop()

    def _batch(self, asked: PendingBatch) -> Tensor:
        count, channels, height, width = asked.shape
        flat = self.memory[asked.slot, : count * channels * height * width]
        return flat.view(count, height, width, channels).permute(0, 3, 1, 2)

    def poll(self) -> None:
        """Wait for one part of any batch."""
        ready = wait([self.results, *(process.sentinel for process in self.processes)])
        try:
            heard = self.results.recv() if self.results in ready else None
        except EOFError:  # all are dead
            heard = None
        if heard is None:
            self.raise_dead_worker()
        slot, start, faults, error = heard
        if isinstance(error, DataError):
            raise error
        if error is not None:
            raise RuntimeError(f"in a process that reads images:\n{error}")
        self.pending[slot].parts -= 1
        self.pending[slot].faults += [fault._replace(row=fault.row + start) for fault in faults]

    def raise_dead_worker(self) -> NoReturn:
        ended = wait([process.sentinel for process in self.processes])
        died = next(process for process in self.processes if process.sentinel in ended)
        died.join()
        raise DataError(
            f"A process that reads images has died (exit status {died.exitcode}); too little memory is the usual "
            "reason.\nTry datamodule.workers=1: the same command goes on at the last saved step."
        )


def _work(jobs: Mapping[str, Job], memory: Tensor, tasks: Connection, results: Any, locks: Any, parent: int) -> None:
    """A worker process. Interrupts are the run's to answer: it needs its workers for the step that it saves."""
    for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
    while True:
        with locks[0]:
            while os.getppid() == parent and not tasks.poll(LOOK_AT_PARENT):
                pass
            if os.getppid() != parent:
                return
            job, slot, start, shape, rows = tasks.recv()
        faults: list[Fault] = []
        error: DataError | str | None = None
        try:
            channels, height, width = shape
            size = channels * height * width
            flat = memory[slot, start * size : (start + len(rows)) * size]
            out = flat.view(len(rows), height, width, channels).permute(0, 3, 1, 2)
            faults = jobs[job].images.fill(out, torch.from_numpy(rows), jobs[job].view)
        except DataError as told:
            error = told
        except Exception:
            error = traceback.format_exc()
        with locks[1]:
            results.send((slot, start, faults, error))


def _shared(size: int, forks: bool) -> Tensor:
    """Bytes that processes share: without a name, and so without the limit of /dev/shm, where they inherit memory."""
    if forks:
        return torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8)
    return torch.empty(size, dtype=torch.uint8).share_memory_()


def _pin(memory: Tensor) -> bool:
    return int(torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.numel(), 0)) == 0


def _end(processes: list[Any]) -> None:
    for process in processes:
        process.kill()  # they hold nothing
    for process in processes:
        process.join()

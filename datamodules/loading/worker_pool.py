"""Worker processes that make batches for as long as the run lives, in memory that they share with it.

A micro-batch is submitted in chunks, so that all processes work on the next one. Results are fetched in the order of
submission. Images are written in place, in memory that is pinned if there is a GPU, and copied to it asynchronously.
"""

import math
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
from lineage.datamodules.loading.batch_memory import pin, shared, unpin
from lineage.files import reason

CHUNK = 32  # most images that a process makes at a time
STREAMS = 3  # that have batches at once: training, an evaluation, and statistics or the rest of another evaluation
MAX_BYTES = 2**31  # of shared memory for batches, unless the workers' own chunks need more
CHECK_PARENT_S = 5.0  # an idle process checks this often whether the run still lives


class Job(NamedTuple):
    """The images that batches are made of, and the augmentation on the host."""

    images: Images
    view: View | None

    @property
    def needs_host(self) -> bool:
        """Whether images are decoded or augmented one by one, on the host."""
        return self.view is not None or not self.images.one_size

    def shape(self, count: int, epoch: int) -> tuple[int, int, int, int]:
        """The shape of a finished batch: (count, C, H, W)."""
        native = self.images.native
        height, width = native if self.view is None else self.view.output_size(native, epoch)  # type: ignore[misc]
        return count, self.images.channels, height, width

    def max_bytes(self, count: int, epochs: int) -> int:
        return max(math.prod(self.shape(count, epoch)) for epoch in range(epochs))


def cores_of_rank(ranks: int) -> int:
    """This process's share of the cores, if so many ranks share the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max(1, ranks))


def batches_ahead(workers: int, micro_batch: int, accumulation: int, largest: int) -> int:
    """How many batches of one job are begun before the first is needed.

    Each process has a chunk, and the next two batches are begun. A step's micro-batches and two of the next are begun
    too, if the memory for them is at most MAX_BYTES.

    Args:
        micro_batch: its images.
        accumulation: micro-batches of a step.
        largest: bytes of the largest batch.
    """
    return max(2 + -(-workers * CHUNK // micro_batch), min(accumulation + 2, MAX_BYTES // (largest * STREAMS)))


@dataclass
class PendingBatch:
    """A batch that is being made."""

    shape: tuple[int, int, int, int]
    slot: int
    chunks: int  # that are not finished
    faults: list[Fault] = field(default_factory=list)


class Pool:
    """Worker processes and the memory that they write to. Raises DataError: the system lets no process start.

    Args:
        jobs: by name.
        workers: number of processes.
        largest: bytes of the largest batch.
        ahead: batches of one job that are submitted before the first result is fetched.
        device: where batches go.
    """

    def __init__(self, jobs: Mapping[str, Job], workers: int, largest: int, ahead: int, device: torch.device) -> None:
        self.jobs, self.ahead, self.device = dict(jobs), ahead, device
        context = mp.get_context()
        slots = ahead * STREAMS
        self.memory = shared(largest * slots, context.get_start_method() == "fork").view(slots, largest)
        self.free = list(range(slots))  # used last in, first out: a slot that was never used takes no memory
        self.copying: deque[tuple[Any, int]] = deque()  # slots that are being copied to the device
        self.pending: dict[int, PendingBatch] = {}
        try:  # semaphores, descriptors or processes may be few
            tasks, self.tasks = context.Pipe(duplex=False)
            self.results, results = context.Pipe(duplex=False)
            self.locks = context.Lock(), context.Lock()  # kept: a spawned process opens them by name, after this
            arguments = (self.jobs, self.memory, tasks, results, self.locks, os.getpid())
            self.processes = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(workers)]
            for process in self.processes:
                process.start()
        except OSError as error:
            for child in mp.active_children():
                child.kill()
            raise DataError(f"No worker processes ({reason(error)}): datamodule.workers=0 needs none.") from error
        tasks.close()
        results.close()
        self.pinned = device.type == "cuda" and pin(self.memory, device)
        # Copies have a stream of their own. In the network's, kernels would wait for them (256 images of 224 px, 39 MB,
        # take 1.5 ms at 25 GB/s, and ResNet-50 trains on them in 85), and a slot would wait for the kernels before it.
        self.copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        held = (self.processes, self.copying, self.memory if self.pinned else None)
        # Called before multiprocessing sends its children the SIGTERM that these ignore.
        self.close = Finalize(self, _end, held, exitpriority=10)

    def submit(self, job: str, sample_keys: Tensor) -> PendingBatch:
        """Have the images of sample keys (B, 3) made. Raises DataError: all processes have died."""
        count = len(sample_keys)
        shape = self.jobs[job].shape(count, int(sample_keys[0, 0]) if count else 0)
        chunks_wanted = max(-(-count // CHUNK), min(len(self.processes), count // 4), 1)
        chunks = sample_keys.tensor_split(chunks_wanted) if count else ()
        batch = PendingBatch(shape, self._free_slot(), len(chunks))
        self.pending[batch.slot] = batch
        start = 0
        for chunk in chunks:
            try:
                self.tasks.send((job, batch.slot, start, shape[1:], chunk.numpy()))
            except BrokenPipeError:  # all are dead
                self.raise_dead_worker()
            start += len(chunk)
        return batch

    def result(self, batch: PendingBatch) -> tuple[Tensor, list[Fault]]:
        """Wait for a batch: the images (B, C, H, W) uint8 on the device, and the unreadable ones. Raises DataError: a
        process has died."""
        self._finish(batch)
        images = self._images(batch)
        if self.copies is not None:
            with torch.cuda.stream(self.copies):
                images = images.to(self.device, non_blocking=self.pinned)
            copied, network = self.copies.record_event(), torch.cuda.current_stream(self.device)
            network.wait_event(copied)
            images.record_stream(network)  # their memory is free for another copy when its kernels are done
            self.copying.append((copied, batch.slot))
        else:
            images = images.to(self.device, copy=True)
            self.free.append(batch.slot)
        return images, batch.faults

    def drop(self, batch: PendingBatch) -> None:
        """Wait for a batch that is not needed, and free its memory."""
        self._finish(batch)
        self.free.append(batch.slot)

    def _free_slot(self) -> int:
        while self.copying and (self.copying[0][0].query() or not self.free):
            copied, slot = self.copying.popleft()
            copied.synchronize()
            self.free.append(slot)
        return self.free.pop()

    def _finish(self, batch: PendingBatch) -> None:
        while batch.chunks:
            self.poll()
        del self.pending[batch.slot]

    def _images(self, batch: PendingBatch) -> Tensor:
        count, channels, height, width = batch.shape
        flat = self.memory[batch.slot, : count * channels * height * width]
        return flat.view(count, height, width, channels).permute(0, 3, 1, 2)

    def poll(self) -> None:
        """Wait for one chunk of any batch."""
        ready = wait([self.results, *(process.sentinel for process in self.processes)])
        try:
            message = self.results.recv() if self.results in ready else None
        except EOFError:  # all are dead
            message = None
        if message is None:
            self.raise_dead_worker()
        slot, start, faults, error = message
        if isinstance(error, DataError):
            raise error
        if error is not None:
            raise RuntimeError(f"in a process that reads images:\n{error}")
        self.pending[slot].chunks -= 1
        self.pending[slot].faults += [fault._replace(row=fault.row + start) for fault in faults]

    def raise_dead_worker(self) -> NoReturn:
        ended = wait([process.sentinel for process in self.processes])
        died = next(process for process in self.processes if process.sentinel in ended)
        died.join()
        raise DataError(
            f"A process that reads images has died (exit status {died.exitcode}), usually of too little memory.\n"
            "Try datamodule.workers=1: the same command continues at the last saved step."
        )


def _work(jobs: Mapping[str, Job], memory: Tensor, tasks: Connection, results: Any, locks: Any, parent: int) -> None:
    """A worker process. It ignores signals: the run answers them, and needs its workers for the step that it saves."""
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
    while True:
        with locks[0]:
            while os.getppid() == parent and not tasks.poll(CHECK_PARENT_S):
                pass
            if os.getppid() != parent:
                return
            job, slot, start, shape, sample_keys = tasks.recv()
        faults: list[Fault] = []
        error: DataError | str | None = None
        try:
            channels, height, width = shape
            size = channels * height * width
            flat = memory[slot, start * size : (start + len(sample_keys)) * size]
            out = flat.view(len(sample_keys), height, width, channels).permute(0, 3, 1, 2)
            faults = jobs[job].images.fill(out, torch.from_numpy(sample_keys), jobs[job].view)
        except DataError as unusable:
            error = unusable
        except Exception:
            error = traceback.format_exc()
        with locks[1]:
            results.send((slot, start, faults, error))


def _end(processes: list[Any], copying: deque[tuple[Any, int]], pinned: Tensor | None) -> None:
    for process in processes:
        process.kill()  # they hold nothing that a kill could damage
    for process in processes:
        process.join()
    if pinned is not None:
        unpin(pinned, [copied for copied, _ in copying])

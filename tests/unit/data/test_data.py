"""The order of images, loaders and workers; files of data sets, damaged ones too; shared memory."""

import gzip
import multiprocessing as mp
import pickle
from collections import deque
from itertools import islice

import numpy
import pytest
import torch
from data_sets import loaded, sizes
from torch.utils._python_dispatch import TorchDispatchMode

from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault, TensorImages
from lineage.datamodules.loading.batch_memory import copy_together, pin, unpin
from lineage.datamodules.loading.loader import (
    EvaluationLoader,
    MicroBatch,
    Stream,
    TrainLoader,
    batch_requests,
    first_repetitions,
)
from lineage.datamodules.loading.order import BatchSplit, EpochOrder, check_last_step, split_batch
from lineage.datamodules.loading.worker_pool import STREAMS, Job, Pool, batches_ahead
from lineage.datamodules.memory import resize_or_pad
from lineage.datamodules.sets.cifar import read_batch
from lineage.datamodules.sets.mnist import read_idx
from lineage.datamodules.split import held_out


def tiny(count: int = 50) -> TensorImages:
    labels = torch.arange(count)
    return TensorImages(labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous(), labels)


def stream(images, view=None, workers: int = 0) -> Stream:
    """A stream of batches, from this process or from workers."""
    made, pools = Job(images, view), []

    def pool() -> Pool:
        if not pools:
            pools.append(Pool({"train": made}, workers, made.max_bytes(256, 1), 3, torch.device("cpu")))
        return pools[0]

    return Stream("train", made, torch.device("cpu"), pool if workers else None, fail)


def fail(faults) -> None:
    raise DataError(f"{faults[0].name}: {faults[0].reason}")


ONE_BATCH = BatchSplit()


def loader(order: EpochOrder, split=ONE_BATCH, rank: int = 0, workers: int = 0, view=None, last=9) -> TrainLoader:
    return TrainLoader(stream(tiny(order.samples), view, workers), order, split, rank, last)


def taken(loader: TrainLoader) -> list[list[MicroBatch]]:
    return [list(step) for step in loader]


# ---- order


def test_an_epoch_is_a_permutation_that_is_a_function_of_seed_and_epoch():
    order = EpochOrder(50, 10, 0, True, seed=0)
    first = order.epoch(0)
    assert torch.equal(first, order.epoch(0)) and not torch.equal(first[:, 1], order.epoch(1)[:, 1])
    assert sorted(first[:, 1].tolist()) == list(range(50)) and (order.epoch(7)[:, 0] == 7).all()
    assert not torch.equal(first, EpochOrder(50, 10, 0, True, seed=1).epoch(0))


@pytest.mark.parametrize(
    ("batch", "drop_last", "limit", "steps", "images"),
    [
        (8, True, 1.0, 6, 48), (8, False, 1.0, 7, 50), (50, True, 1.0, 1, 50), (128, True, 1.0, 1, 128),
        (128, False, 1.0, 1, 128), (8, False, 3, 3, 24), (8, False, 9, 7, 50), (8, False, 0.5, 3, 24),
        (8, False, 0.01, 1, 8),
    ],
)  # fmt: skip
def test_length(batch, drop_last, limit, steps, images):
    order = EpochOrder(50, batch, 0, drop_last, 0, limit=limit)
    assert (order.steps_per_epoch, order.images_per_epoch, len(order.epoch(0))) == (steps, images, images)


def test_repetitions_are_in_a_row_and_every_sample_key_is_unique():
    order = EpochOrder(50, 128, 3, True, 0)
    epoch = order.epoch(2)
    assert (epoch[0::3, 1] == epoch[1::3, 1][: len(epoch[0::3])]).float().mean() > 0.9
    assert len({tuple(row) for row in epoch.tolist()}) == 128  # shorter than a step: it runs on, with other repetitions
    assert len(set(EpochOrder(60, 60, 3, True, 0).epoch(0)[:, 1].tolist())) == 20


def test_split():
    for devices in (1, 2, 4):  # the paper's four chunks of 512 on any of them
        assert split_batch(2048, 512, devices) == BatchSplit(devices, 4 // devices)
    assert split_batch(2048, 512, 8) == BatchSplit(8, 1)  # fewer images on each
    assert split_batch(1024, 0, 1) == BatchSplit(1, 1) and split_batch(1024, 0, 1, 256) == BatchSplit(1, 4)
    assert split_batch(2048, 512, 1, 300) == BatchSplit(1, 8) and split_batch(2048, 512, 1, 4096) == BatchSplit(1, 4)
    # A batch size that the user changed: smaller than device_batch, twice as large, no multiple of it.
    assert [split_batch(size, 64, 1).chunks for size in (32, 256, 96, 100)] == [1, 4, 2, 2]
    with pytest.raises(DataError, match="32 or 34"):
        split_batch(33, 0, 2)
    check_last_step(EpochOrder(50, 16, 0, False, 0), BatchSplit(2, 1))  # 50 = 3 x 16 + 2
    with pytest.raises(DataError, match="drop_last"):
        check_last_step(EpochOrder(50, 16, 0, False, 0), BatchSplit(3, 1))


def test_two_devices_see_what_one_with_two_micro_batches_sees():
    """Every second image of each step, with its label."""
    order = EpochOrder(50, 16, 3, False, 0)
    alone = [[b.sample_keys for b in step] for step in loader(order, BatchSplit(1, 2))]
    assert torch.equal(alone[1][1], order.epoch(0)[17:32:2])
    ranks = [[b.sample_keys for step in loader(order, BatchSplit(2, 1), rank) for b in step] for rank in (0, 1)]
    for step, (first, second) in enumerate(alone):
        assert torch.equal(first, ranks[0][step]) and torch.equal(second, ranks[1][step])


def test_weights_make_the_mean_over_images():
    for split in (BatchSplit(1, 1), BatchSplit(1, 3), BatchSplit(3, 1)):
        last = [taken(loader(EpochOrder(50, 16, 0, False, 0), split, rank))[-1] for rank in range(split.devices)]
        share = {b.chunk: (len(b.labels), b.weight) for step in last for b in step}
        assert len(share) == split.chunks and sum(n for n, _ in share.values()) == 2
        for n, weight in share.values():  # the mean over devices of weight x mean loss is the mean over the step
            assert weight == pytest.approx(n * split.devices / 2)


def test_a_loader_continues_where_it_was_saved():
    order = EpochOrder(50, 8, 3, True, 0)
    whole, half = loader(order), loader(order)
    for one in (whole, half):
        one.set_epoch(4)
    steps, iterator = taken(whole), iter(half)
    for _ in range(2):
        next(iterator)
    resumed = loader(order)
    resumed.load_state_dict(half.state_dict())
    resumed.set_epoch(4)
    assert equal(taken(resumed), steps[2:])
    assert len(taken(resumed)) == 6 and whole.state_dict() == {"next": 0}


class AddRepetition:
    def output_size(self, native, epoch):
        return native

    def __call__(self, images, sample_keys):
        return images + sample_keys[:, 2].to(torch.uint8)[:, None, None, None]


FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def equal(steps, others) -> bool:
    pairs = [pair for a, b in zip(steps, others, strict=True) for pair in zip(a, b, strict=True)]
    return all(torch.equal(x, y) for ours, theirs in pairs for x, y in zip(ours[:3], theirs[:3], strict=True))


@FORKS
def test_workers_change_nothing():
    """Also with batches begun ahead: in consecutive epochs, one that is stopped early, and one that is resumed."""
    order = EpochOrder(50, 16, 3, True, 0)
    zero, two = (loader(order, BatchSplit(1, 2), workers=n, view=AddRepetition()) for n in (0, 2))
    for epoch, first, last in ((0, 0, 3), (1, 0, 3), (2, 0, 1), (3, 0, 3), (5, 2, 3)):
        steps = []
        for one in (zero, two):
            one.load_state_dict({"next": first})
            one.set_epoch(epoch)
            steps.append([list(step) for _, step in zip(range(last - first), one, strict=False)])
        assert len(steps[0]) == last - first and equal(*steps)


@FORKS
def test_the_next_epoch_is_begun_before_it_is_requested():
    one = loader(EpochOrder(48, 16, 0, True, 0), workers=1, view=AddRepetition(), last=1)
    list(one)
    assert [request.key for request, _ in one.stream.pending] == [(1, 0), (1, 1)]
    one.set_epoch(1)
    assert len(list(one)) == 3 and not one.stream.pending  # the last


@FORKS
def test_every_slot_is_free_again_after_batches_that_were_used_and_dropped():
    one = loader(EpochOrder(48, 16, 0, True, 0), workers=1, view=AddRepetition(), last=99)
    pool = one.stream.pool()
    for epoch in range(0, 20, 2):  # each begins batches of the next, which the one after it drops
        one.set_epoch(epoch)
        list(one)
        assert len(one.stream.pending) == 2 and len(pool.free) == 3 * STREAMS - 2
        assert len(pool.pending) == 2


def test_a_slot_is_used_again_when_it_is_copied_to_the_device():
    class Copy:
        def __init__(self, done: bool) -> None:
            self.done = done

        def query(self) -> bool:
            return self.done

        def synchronize(self) -> None:
            waited.append(self)

    waited: list[Copy] = []
    pool, late, done = Pool({}, 0, 4, 1, torch.device("cpu")), Copy(False), Copy(True)
    pool.free, pool.copying = [2], deque([(done, 0), (late, 1)])
    assert pool._free_slot() == 0  # the one used last: memory that was never used is none
    assert pool._free_slot() == 2 and waited == [done]
    assert pool._free_slot() == 1 and waited == [done, late]


@FORKS
def test_a_worker_that_dies_is_named():
    one = loader(EpochOrder(48, 16, 0, True, 0), workers=2, view=AddRepetition())
    steps = iter(one)
    next(steps)
    for process in one.stream.pool().processes:
        process.kill()
    with pytest.raises(DataError, match="has died .exit status -9.*\n.*last saved step"):
        list(steps)
        one.set_epoch(1)
        list(one)


class WaitsAtTheLast(AddRepetition):
    """Images of the last micro-batch of the first step are not finished before `released` is set."""

    def __init__(self, order: EpochOrder, accumulation: int) -> None:
        self.last, self.released = order.epoch(0)[accumulation - 1 : order.batch_size : accumulation, 1], mp.Event()

    def __call__(self, images, sample_keys):
        if torch.isin(sample_keys[:, 1], self.last).any() and not self.released.wait(30):
            raise RuntimeError("the step waited for all its micro-batches")
        return images


@FORKS
def test_a_step_begins_before_its_last_micro_batch_is_finished():
    order, split = EpochOrder(48, 24, 0, True, 0), BatchSplit(1, 6)
    view = WaitsAtTheLast(order, split.accumulation)
    one = loader(order, split, workers=1, view=view)
    one.stream.pool().ahead = ahead = batches_ahead(1, 32, split.accumulation, 4)
    step = next(iter(one))
    first = list(islice(step, 5))
    assert len(step) == 6 and step.images == 20 and len(one.stream.pending) == ahead - 1 == 7
    view.released.set()
    whole = taken(loader(order, split, view=AddRepetition()))[0]
    assert equal([[*first, *step]], [whole]) and step.images == 24


@pytest.mark.parametrize(
    ("workers", "micro_batch", "accumulation", "megabytes", "ahead"),
    [(16, 256, 8, 38.5, 10), (16, 256, 1, 38.5, 4), (64, 32, 8, 4.8, 66), (2, 256, 30, 38.5, 18), (2, 256, 8, 900, 3)],
)
def test_batches_ahead_cover_workers_and_a_step_within_memory(workers, micro_batch, accumulation, megabytes, ahead):
    assert batches_ahead(workers, micro_batch, accumulation, int(megabytes * 1e6)) == ahead


class Copies(TorchDispatchMode):
    """Counts the copies to the meta device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.count += function is torch.ops.aten._to_copy.default and kwargs.get("device") == torch.device("meta")
        return function(*args, **kwargs)


@FORKS
@pytest.mark.parametrize("workers", [0, 1])
def test_labels_and_sample_keys_go_to_the_device_in_one_copy(workers):
    one = loader(EpochOrder(48, 16, 0, True, 0), BatchSplit(1, 2), workers=workers, view=AddRepetition())
    one.stream.device = torch.device("meta")
    if workers:
        one.stream.pool().device = one.stream.device
    with Copies() as copies:
        batches = [batch for step in one for batch in step]
    assert {tuple(tuple(tensor.shape) for tensor in batch[:3]) for batch in batches} == {((8, 1, 4, 4), (8,), (8, 3))}
    assert all(tensor.is_meta for batch in batches for tensor in batch[:3]) and copies.count == 2 * len(batches)
    labels, keys = copy_together(torch.device("cpu"), torch.arange(5), torch.arange(15).view(5, 3))
    assert torch.equal(labels, torch.arange(5)) and torch.equal(keys, torch.arange(15).view(5, 3))


@pytest.mark.parametrize("refused", [False, True])
def test_memory_is_pinned_if_the_system_allows_it_and_given_back(refused, monkeypatch):
    calls = []

    class Runtime:
        def cudaHostRegister(self, address, size, flags):  # noqa: N802
            calls.append((address, size))
            return 2 * refused

        def cudaHostUnregister(self, address):  # noqa: N802
            calls.append(address)

    def launch(*shape, device):
        calls.append("launch")
        raise RuntimeError("CUDA error: out of memory")

    memory = torch.zeros(7, dtype=torch.uint8)
    monkeypatch.setattr(torch.cuda, "cudart", Runtime)
    monkeypatch.setattr(torch, "zeros", launch)
    assert pin(memory, torch.device("cuda")) is not refused
    if refused:
        assert calls[1:] == ["launch"]  # which forgets the failure
    else:
        unpin(memory, [])
        assert calls == [(memory.data_ptr(), 7), memory.data_ptr()]


class NoFortieth(TensorImages):
    def fill(self, out, sample_keys, view):
        super().fill(out, sample_keys, view)
        return [Fault(row, "40", "bad") for row, sample in enumerate(sample_keys[:, 1].tolist()) if sample == 40]


@FORKS
def test_a_row_is_left_out_where_it_stands_among_the_chunks_of_workers():
    found, images = [], tiny()
    one = stream(NoFortieth(images.images, images.labels), AddRepetition(), workers=1)
    one.report = found.extend
    (batch,) = one(iter(batch_requests(first_repetitions(torch.arange(50)), 1)), 1)
    assert batch.labels.tolist() == [i for i in range(50) if i != 40] and batch.images[:, 0, 0, 0].tolist()[40] == 41
    assert [fault.row for fault in found] == [40]


class Fails(AddRepetition):
    def __call__(self, images, sample_keys):
        raise RuntimeError("of its own")


@FORKS
def test_an_exception_in_a_worker_is_raised_with_its_message():
    with pytest.raises(RuntimeError, match="of its own"):
        list(loader(EpochOrder(48, 16, 0, True, 0), workers=1, view=Fails()))


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_evaluation_sees_every_image_once_and_ranks_make_as_many_batches(ranks):
    loaders = [EvaluationLoader(stream(tiny()), 8, ranks, rank) for rank in range(ranks)]
    assert len({len(one) for one in loaders}) == 1
    seen = [label for one in loaders for batch in one for label in batch.labels.tolist()]
    assert sorted(seen) == list(range(50))


# ---- data sets


def test_digits():
    datamodule = loaded("digits")
    assert sizes(datamodule) == [1257, 180, 360]
    images = datamodule.train[torch.arange(1257)]
    assert images.shape == (1257, 1, 32, 32) and images.dtype == torch.uint8
    assert (images / 255).mean() == pytest.approx(datamodule.mean[0], abs=0.005)
    assert (images / 255).std() == pytest.approx(datamodule.std[0], abs=0.005)
    with pytest.raises(DataError, match="datamodule.show=crop: it is one of"):
        loaded("digits", "show=crop")
    other = loaded("digits", "split_seed=1")
    assert torch.equal(other.test.labels, datamodule.test.labels)
    assert not torch.equal(other.val.samples, datamodule.val.samples)
    assert set(datamodule.val.labels.bincount().tolist()) == {17, 18, 19}
    old = {"training_images": 1257, "validation_images": 180}  # of version 0.1, which held out other images
    for state in (old, other.state_dict()):
        with pytest.raises(DataError, match="started with other validation images"):
            datamodule.load_state_dict(state)


# ---- held out for validation


@pytest.mark.parametrize(
    ("counts", "size", "shares"),
    [
        ([10, 10, 10], 3, [1, 1, 1]),
        ([100, 50, 50], 20, [10, 5, 5]),
        ([1, 1, 98], 10, [0, 0, 10]),  # a class of one image is trained on
        ([97, 0, 2, 1], 98 - 2, [95, 0, 1, 0]),  # what a small class cannot give, others do
        ([7, 5], 3, [2, 1]),  # 1.75 and 1.25
    ],
)
def test_each_class_gives_its_share(counts, size, shares):
    labels = numpy.random.default_rng(0).permutation(numpy.repeat(numpy.arange(len(counts)), counts))
    for seed in range(5):
        chosen = held_out(labels, size, seed)
        assert numpy.bincount(labels[chosen], minlength=len(counts)).tolist() == shares
    assert (held_out(labels, size, 1) != held_out(labels, size, 2)).any()


def test_what_is_held_out_is_the_same_everywhere():
    labels = numpy.arange(40) % 3
    assert numpy.flatnonzero(held_out(labels, 6, 0)).tolist() == [0, 8, 10, 17, 18, 22]
    assert numpy.flatnonzero(held_out(labels, 6, 1)).tolist() == [6, 11, 13, 14, 28, 33]


def test_no_class_vanishes_from_training():
    pairs = numpy.repeat(numpy.arange(200), 2)
    giving = numpy.unique(pairs[held_out(pairs, 40, 0)])  # not the first 40 of 200 classes
    assert len(giving) == 40 and giving.mean() == pytest.approx(100, abs=30)
    with pytest.raises(DataError, match="of 6 training images in 3 classes at most 3 can be held out"):
        held_out(numpy.array([0, 0, 1, 1, 2, 2]), 4, 0)


def test_mnist(real_data):
    datamodule = loaded("mnist", f"root={real_data}")
    assert sizes(datamodule) == [55_000, 5_000, 10_000]
    pixels = datamodule.test[torch.arange(10_000)][:, :, 2:30, 2:30] / 255
    assert pixels.mean() == pytest.approx(0.1325, abs=1e-3)  # of the test images; 0.1307 is the training images'
    assert datamodule.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_padding_centres():
    shown = resize_or_pad(torch.full((1, 1, 28, 28), 255, dtype=torch.uint8), 32, "pad")
    assert shown.shape == (1, 1, 32, 32) and shown.sum() == 255 * 28 * 28 and (shown[0, 0, 2:30, 2:30] == 255).all()


def idx(path, array):
    header = b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_idx_files_plain_packed_and_damaged(tmp_path):
    folder, rng = tmp_path / "MNIST" / "raw", numpy.random.default_rng(0)
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        idx(folder / f"{split}-images-idx3-ubyte", rng.integers(0, 256, (64, 28, 28), dtype=numpy.uint8))
        idx(folder / f"{split}-labels-idx1-ubyte.gz", rng.integers(0, 10, 64).astype(numpy.uint8))
    words = ("mnist", f"root={tmp_path}", "val_size=4")
    assert sizes(loaded(*words)) == [60, 4, 64]
    path, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte.gz"
    whole, content = path.read_bytes(), labels.read_bytes()
    for damaged in (whole[:-5], whole + b"x", b"", b"<html>"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="train-images-idx3-ubyte is damaged"):
            read_idx(path)
    path.write_bytes(gzip.decompress(content))  # one for the other
    with pytest.raises(DataError, match="do not match"):
        loaded(*words)
    labels.write_bytes(content[:20] + bytes(20) + content[40:])
    with pytest.raises(DataError, match="train-labels-idx1-ubyte.gz is damaged"):
        read_idx(labels)
    path.unlink()
    with pytest.raises(DataError, match="datamodule.root=FOLDER"):
        loaded(*words)


def test_cifar_files_are_data_not_code(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = numpy.random.default_rng(0)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        batch = {"data": rng.integers(0, 256, (10, 3072), dtype=numpy.uint8), "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    datamodule = loaded("cifar10", f"root={tmp_path}", "val_size=0")
    assert len(datamodule.train) == 50 and datamodule.val is datamodule.test
    assert datamodule.test[torch.tensor([3])][0, 1, 2, 5] == batch["data"][3, 1024 + 2 * 32 + 5]  # green, row, column

    class Attack:
        def __reduce__(self):
            return (print, ("ran",))

    (folder / "test_batch").write_bytes(pickle.dumps({"data": Attack(), "labels": [0]}))
    with pytest.raises(DataError, match="damaged.*print"):
        read_batch(folder / "test_batch", "labels")
    (folder / "test_batch").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="damaged"):
        read_batch(folder / "test_batch", "labels")

"""Epochs of several passes, and repeated augmentation against the samplers of FixRes, timm and torchvision."""

from collections import Counter

import numpy
import pytest
import torch
from timm.data.distributed_sampler import RepeatAugSampler

from lineage.datamodules.loading.order import BatchSplit, EpochOrder, image_weights, windowed_permutation


def fixres(order: EpochOrder, passes: int) -> list[int]:
    """RASampler of FixRes's samplers.py: every image several times in a row, one permutation after another."""
    drawn: list[int] = []
    for i in range(passes):
        permutation = numpy.random.default_rng((order.seed, 0, i)).permutation(order.samples)
        drawn += [int(image) for image in permutation for _ in range(max(order.repeats, 1))]
    return drawn[: order.samples * passes]


@pytest.mark.parametrize("repeats", [0, 3])
@pytest.mark.parametrize("passes", [1, 2, 5])
def test_an_epoch_of_several_passes_is_fixress(passes, repeats):
    order = EpochOrder(50, 8, repeats, True, 0, passes)
    found = order.epoch(0)
    assert order.steps_per_epoch == 50 * passes // 8 and len(found) == order.steps_per_epoch * 8
    assert found[:, 1].tolist() == fixres(order, passes)[: len(found)]
    assert len(set(map(tuple, found.tolist()))) == len(found)  # no augmentation is drawn twice
    assert not torch.equal(found[:, 1], order.epoch(1)[:, 1])


def test_an_incomplete_last_batch_after_several_passes():
    whole = EpochOrder(50, 8, 0, False, 0, 3)
    assert whole.steps_per_epoch == 19 and whole.images_per_epoch == 150
    assert Counter(whole.epoch(0)[:, 1].tolist()) == dict.fromkeys(range(50), 3)
    assert EpochOrder(50, 128, 0, True, 0, 2).images_per_epoch == 128  # continued until the step is full


@pytest.mark.parametrize("window", [0, 50])
@pytest.mark.parametrize(("sampling", "shares"), [("balanced", (1 / 2, 1 / 2)), ("sqrt", (3 / 4, 1 / 4))])
def test_sampling_draws_each_class_by_its_share_and_no_augmentation_twice(sampling, shares, window):
    labels = numpy.array([0] * 180 + [1] * 20)
    weights = image_weights(labels, sampling)
    order = EpochOrder(200, 20, 0, True, 0, 2, window, weights=weights)
    keys = order.epoch(3)
    assert torch.equal(keys, order.epoch(3)) and not torch.equal(keys[:, 1], order.epoch(4)[:, 1])
    drawn = labels[keys[:, 1].numpy()]
    assert (keys[1:, 1] == keys[:-1, 1]).float().mean() < 0.15  # an image that comes five times comes at five places
    assert numpy.bincount(drawn) / len(keys) == pytest.approx(shares, abs=0.02)
    times = numpy.bincount(keys[:, 1], minlength=200)[180:]
    assert times.max() - times.min() <= 2  # one in each of two passes
    assert len(set(map(tuple, keys.tolist()))) == len(keys) == 400
    thrice = EpochOrder(198, 18, 3, True, 0, weights=weights[:198]).epoch(0)[:, 1].view(-1, 3)
    assert (thrice == thrice[:, :1]).all()


@pytest.mark.parametrize("ranks", [1, 2, 8])
def test_repeated_augmentation_has_the_images_of_timms_sampler(ranks, monkeypatch):
    """RepeatAugSampler with the same permutation; it leaves out images beyond a multiple of 256."""
    order = EpochOrder(1000, 256, 3, True, 0)
    permutation = torch.from_numpy(numpy.random.default_rng((0, 0, 0)).permutation(1000))
    monkeypatch.setattr(torch, "randperm", lambda *arguments, **options: permutation)
    theirs: Counter = Counter()
    for rank in range(ranks):
        theirs.update(map(int, RepeatAugSampler(range(1000), ranks, rank, num_repeats=3)))
    ours: Counter = Counter()
    images, split = order.epoch(0)[:, 1], BatchSplit(ranks)
    for rank in range(ranks):
        for step in images.split(256):
            for chunk in split.chunks_of(rank):
                ours.update(step[chunk :: split.chunks].tolist())
    assert ours == theirs and sum(ours.values()) == 768 and set(ours.values()) == {3}


@pytest.mark.parametrize(("samples", "window"), [(1000, 0), (1000, 160), (1003, 160), (7, 160), (1000, 1)])
def test_a_windowed_order_is_a_permutation_that_stays_near(samples, window):
    order = windowed_permutation(samples, window, numpy.random.default_rng((0, 3)))
    assert order.dtype == numpy.int64 and sorted(order.tolist()) == list(range(samples))
    assert (order == windowed_permutation(samples, window, numpy.random.default_rng((0, 3)))).all()
    assert samples < 10 or (order != windowed_permutation(samples, window, numpy.random.default_rng((0, 4)))).any()
    if window == 160:
        assert samples < 10 or (numpy.diff(order) == 1).mean() < 0.05  # the runs themselves are not in order
        for start in range(0, samples, window):
            assert len(set((order[start : start + window] // 10).tolist())) <= 17  # runs of ten neighbours

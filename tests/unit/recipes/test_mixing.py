"""Mixup and CutMix against timm's, for the same random numbers."""

import numpy
import pytest
import torch
from conftest import recipe_of

from lineage.recipes import mixing
from lineage.recipes.micro_batch import MicroBatchKey, augment_and_mix
from lineage.recipes.mixing import Mix, cutmix_box, draw_mix, mix_images, partners, soft_targets


class Drawn:
    """A generator with known numbers, under Python's names and numpy's."""

    def __init__(self, cutmix: bool, lam: float, y: int, x: int) -> None:
        positions = [x, y]
        self.random = self.rand = lambda: 0.1 if cutmix else 0.9
        self.betavariate = self.beta = lambda *alphas: lam if alphas == ((1.0,) * 2 if cutmix else (0.1,) * 2) else None
        self.randrange = self.randint = lambda *_, **__: positions.pop()


@pytest.mark.parametrize("cutmix", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixing_equals_timms_for_the_same_draws(cutmix, smoothing, monkeypatch):
    from timm.data.mixup import Mixup, rand_bbox

    if cutmix:
        monkeypatch.setattr(numpy, "random", Drawn(True, 0.9, 10, 10))
        if rand_bbox((1, 3, 30, 30), 0.9)[1] != 15:
            pytest.skip("before 1.0.29 timm made the sides of boxes even")
    recipe = recipe_of("rsb_a2", label_smoothing=smoothing)
    theirs = Mixup(0.1, 1.0, num_classes=10, label_smoothing=smoothing)
    images, labels = torch.randn(6, 3, 30, 41), torch.tensor([0, 1, 2, 3, 1, 0])
    for lam, y, x in ((0.3, 3, 40), (0.91, 15, 20), (0.995, 29, 0), (1e-9, 4, 5), (1.0, 7, 7)):
        monkeypatch.setattr(numpy, "random", Drawn(cutmix, lam, y, x))
        drawn = Drawn(cutmix, lam, y, x)
        expected = theirs(images.clone(), labels)
        monkeypatch.setattr(mixing, "generator", lambda *key, d=drawn: d)
        mix = draw_mix(recipe, 30, 41, 0)
        assert torch.equal(mix_images(images.clone(), mix), expected[0])
        assert torch.equal(soft_targets(recipe, labels, 10, mix), expected[1])


def test_a_mix_is_a_function_of_its_key_and_lambda_of_the_area():
    recipe = recipe_of("rsb_a2")
    drawn = [draw_mix(recipe, 32, 32, 0, step) for step in range(1000)]
    assert drawn == [draw_mix(recipe, 32, 32, 0, step) for step in range(1000)]
    cut = [mix for mix in drawn if mix.box]
    assert len(cut) == pytest.approx(500, abs=60)
    for mix in cut:
        top, bottom, left, right = mix.box
        assert mix.lam == 1 - (bottom - top) * (right - left) / 1024
    assert draw_mix(recipe_of("wrn"), 32, 32, 0, 1) is None


@pytest.mark.parametrize("per", ["step", "chunk"])
def test_a_mix_is_drawn_for_each_step_or_each_micro_batch(per):
    recipe, images = recipe_of("rsb_a2", mix_per=per), torch.rand(4, 3, 32, 32)

    def mix(*place):
        return augment_and_mix(recipe, lambda *_: images.clone(), images, images, 0, MicroBatchKey(*place))[1]

    first = mix(5, 3, 0)
    assert first == draw_mix(recipe, 32, 32, 5, 3, *([0] if per == "chunk" else []))
    assert first not in (mix(5, 4, 0), mix(6, 3, 0)) and (mix(5, 3, 1) == first) == (per == "step")


def test_partners():
    batch = torch.arange(40)
    assert partners(Mix(0.5, None), batch).tolist() == list(range(39, -1, -1))
    assert partners(Mix(0.5, None, "rolled"), batch).tolist() == [39, *range(39)]
    one, two = (partners(Mix(0.5, None, "random", (0, step)), batch) for step in (1, 2))
    assert one.sort().values.equal(batch) and not one.equal(two)
    assert partners(Mix(0.5, None, "random", (0, 1)), batch).equal(one)
    assert draw_mix(recipe_of("rsb_a2", mix_partner="random"), 8, 8, 3, 4)[2:] == ("random", (3, 4))


@pytest.mark.parametrize("partner", ["reversed", "rolled", "random"])
def test_targets_follow_the_partner(partner):
    images, labels = torch.eye(9)[:, :, None, None], torch.arange(9)
    for box in (None, (0, 1, 0, 1)):
        mix = Mix(0.0 if box else 0.3, box, partner, (5,))
        mixed = mix_images(images.clone(), mix)[:, :, 0, 0]
        torch.testing.assert_close(soft_targets(recipe_of("rsb_a2"), labels, 9, mix), mixed)


def test_multi_hot_targets():
    """RSB's A1: 1 - eps + eps / K for both classes, also where they are the same, and eps / K for the others."""
    recipe = recipe_of("rsb_a2", label_smoothing=0.1, multi_hot=True)
    found = soft_targets(recipe, torch.tensor([0, 2, 2, 1]), 4, Mix(0.9, None))
    on, off = 0.925, 0.025
    expected = [[on, on, off, off], [off, off, on, off], [off, off, on, off], [on, on, off, off]]
    torch.testing.assert_close(found, torch.tensor(expected))
    alone = soft_targets(recipe, torch.tensor([0, 1]), 4, Mix(1.0, (0, 0, 0, 0)))
    torch.testing.assert_close(alone, torch.tensor([[on, off, off, off], [off, on, off, off]]))


def test_a_box_is_clipped_and_keeps_an_odd_side():
    assert cutmix_box(0.9, 30, 30, 10, 29) == (6, 15, 25, 30)
    assert cutmix_box(0.0, 8, 8, 4, 4) == (0, 8, 0, 8)

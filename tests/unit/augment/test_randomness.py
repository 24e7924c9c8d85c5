"""Random numbers are functions of their keys, and have the right distributions."""

import torch
from distributions import distance_from_uniform, uniform
from photographs import make_keys

from lineage.recipes.augment.randomness import (
    GOLDEN,
    ImageDraws,
    key_hash,
    normal,
    normal_noise,
    normal_quantiles,
    permutation,
)


def test_uniform_is_a_function_of_the_sample_key():
    whole = uniform(0, "flip", make_keys(1000), 4)
    assert torch.equal(uniform(0, "flip", make_keys(1000)[500:], 4), whole[500:])
    assert torch.equal(uniform(0, "flip", make_keys(1000), 2), whole[:, :2])
    for other in (uniform(1, "flip", make_keys(1000), 4), uniform(0, "crop", make_keys(1000), 4)):
        assert (other == whole).float().mean() < 0.01
    assert (uniform(0, "flip", make_keys(1000, epoch=4), 4) == whole).float().mean() < 0.01


def test_numbers_do_not_depend_on_the_other_names():
    draws = ImageDraws(0, {"crop": 3, "flip": 1}, once=["flip"])
    found, later = draws(make_keys(100)), draws(make_keys(100, epoch=4))
    assert torch.equal(found["crop"], uniform(0, "crop", make_keys(100), 3))
    assert torch.equal(found["flip"], uniform(0, "flip", make_keys(100, epoch=0), 1))
    assert torch.equal(found["flip"], later["flip"]) and not torch.equal(found["crop"], later["crop"])


def test_numbers_never_change():
    assert key_hash(0, "flip") == 6230295094555943024
    assert uniform(0, "flip", torch.tensor([[1, 2, 3]]), 2).tolist() == [[0.7484459280967712, 0.10167115926742554]]
    assert permutation(6, torch.device("cpu"), 0).tolist() == [3, 4, 2, 1, 0, 5]


def test_uniform_and_normal_numbers_have_their_distributions():
    u = uniform(0, "u", make_keys(20_000), 4)
    z = normal(normal_quantiles(), uniform(0, "z", make_keys(20_000), 2))
    assert u.min() >= 0 and u.max() < 1
    assert distance_from_uniform(u) < 1.63 and distance_from_uniform(torch.special.ndtr(z)) < 1.63
    # no correlation between columns, neighbouring samples, epochs and repetitions
    epochs, repetitions = make_keys(20_000, epoch=4), make_keys(20_000) + torch.tensor([0, 0, 1])
    others = [uniform(0, "u", keys, 1) for keys in (epochs, repetitions)]
    both = torch.cat((u, u[:, :1].roll(1, 0), *others), dim=1)
    assert (torch.corrcoef(both.T) - torch.eye(7)).abs().max() < 0.025


def test_noise_is_normal():
    counters = torch.arange(6000).view(6, 1000) * GOLDEN + 5
    noise = normal_noise(normal_quantiles(), counters)
    assert noise.shape == (6, 4000) and distance_from_uniform(torch.special.ndtr(noise)) < 1.63
    between = torch.cat((noise.view(24, 1000), noise.view(24, 1000).roll(1, 1)))  # and the four numbers of one hash
    lanes = torch.cat([noise.view(-1, 4).T[:, i::2] for i in range(2)])
    for rows in (between, lanes):
        assert (torch.corrcoef(rows) - torch.eye(len(rows))).abs().max() < 4.5 * rows.shape[1] ** -0.5
    assert torch.equal(normal_noise(normal_quantiles(), counters[2:, 7:9]), noise[2:, 28:36])


def test_a_permutation_is_one():
    order = permutation(1000, torch.device("cpu"), 0, "step")
    assert torch.equal(order.sort().values, torch.arange(1000)) and not torch.equal(order, torch.arange(1000))
    assert torch.equal(order, permutation(1000, torch.device("cpu"), 0, "step"))

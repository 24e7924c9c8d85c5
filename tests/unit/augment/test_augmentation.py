"""Augmentation is a function of the sample key, and equals timm's and torchvision's for the same random numbers."""

import inspect
from types import SimpleNamespace

import numpy
import pytest
import torch
from conftest import recipe_of
from distributions import uniform
from photographs import apply_view, make_keys, photographs
from replaying import Replayed
from timm.data import create_transform, random_erasing
from torch.nn import functional as F
from torchvision.transforms import ColorJitter, InterpolationMode, RandomErasing, TrivialAugmentWide
from torchvision.transforms.functional import five_crop, ten_crop

from lineage.recipes.augment import boxes, erasing, geometry
from lineage.recipes.augment.device import EIGENVALUES, EIGENVECTORS
from lineage.recipes.augment.host import EvalCrop, HostAugmentation, build_augmentation
from lineage.recipes.augment.policies import apply_operation, per_image_operation
from lineage.recipes.augment.randomness import GOLDEN, key_hash, normal_noise, normal_quantiles, reseed_python
from lineage.recipes.evaluation import Evaluator
from lineage.recipes.inference import Ensemble, average_views

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
AUGMENTED = {
    "wrn": {},
    "rsb_a2": {},
    "resnet": {"train_res": 32, "crop_scale": [36, 64]},
    "resnet_cifar": {"erasing_prob": 0.5, "color_jitter": 0.4},
    "sgd_step": {"crop": "rrc", "crop_scale": [0.3, 1], "crop_ratio": [1, 1], "trivial_augment": True, "cutout": 8},
    "densenet": {"hflip_alternating": True, "erasing_prob": 0.5, "erasing_mode": "constant", "pca_lighting": 0.1},
}


def augmented(name):
    return augmentation(recipe_of("wrn" if name == "densenet" else name, **AUGMENTED[name]))


def augmentation(recipe, one_size=True, mean=MEAN, std=STD):
    return build_augmentation(recipe, one_size=one_size, seed=0, mean=mean, std=std)


def random_images(count, channels=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, 32, 32), dtype=torch.uint8, generator=generator)


# ---- as a whole


@pytest.mark.parametrize("name", AUGMENTED)
def test_augmentation_is_a_function_of_image_and_sample_key(name):
    workers, device = augmented(name)
    images = random_images(12)

    def apply(part: slice) -> torch.Tensor:
        batch, sample_keys = images[part], make_keys(12)[part]
        return device(batch if workers is None else workers(batch, sample_keys), sample_keys)

    whole = apply(slice(None))
    assert whole.shape == images.shape and whole.dtype == torch.float32
    assert torch.equal(torch.cat((apply(slice(0, 5)), apply(slice(5, 12)))), whole)
    assert not torch.equal(whole, device.normalise(images))
    on_meta = device.to("meta")(images.to("meta"), make_keys(12).to("meta"))  # which has no values to wait for
    assert on_meta.shape == images.shape


@pytest.mark.parametrize("name", ["rsb_a2", "torchvision_v2", "resnet", "wrn", "sgd_step"])
def test_photographs_of_any_size(name):
    changes = {"crop_scale": [32, 40]} if name == "resnet" else {}
    view, device = augmentation(recipe_of(name, train_res=24, **changes), one_size=False)
    images, sample_keys = photographs()[:4], make_keys(4)
    whole = apply_view(view, images, sample_keys)
    assert whole.shape == (4, 3, 24, 24)
    assert torch.equal(apply_view(view, images[2:], sample_keys[2:]), whole[2:])
    assert device(whole, sample_keys).shape == whole.shape


def test_a_crop_of_small_images_starts_from_the_central_square():
    """Pad and flip follow on the device, as for images of one size."""
    view, device = augmentation(recipe_of("wrn", train_res=24), one_size=False)
    central = EvalCrop(recipe_of("wrn", test_res=24, test_crop_ratio=1), exact=False)
    centre = apply_view(central, photographs()[:4], make_keys(4))
    assert torch.equal(apply_view(view, photographs()[:4], make_keys(4)), centre)
    assert torch.equal(device(centre, make_keys(4)), augmentation(recipe_of("wrn"))[1](centre, make_keys(4)))


def test_grey_images():
    workers, device = augmentation(recipe_of("rsb_a2", pca_lighting=0.1, hflip=0.0), mean=[0.3], std=[0.3])
    images = random_images(4, channels=1)
    assert workers(images, make_keys(4)).shape == images.shape and device.lighting == 0
    assert device(images, make_keys(4)).shape == images.shape


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "area"])
@pytest.mark.parametrize("size", [24, 40])
def test_single_images_get_the_same_crops_as_a_batch(interpolation, size):
    recipe = recipe_of("rsb_a2", train_res=32, progressive_res=[size, 32], epochs=2, interpolation=interpolation)
    view = HostAugmentation(recipe, seed=0, mean=MEAN, operation=lambda picture: picture)
    images, sample_keys = random_images(64), make_keys(64, epoch=0)
    expected = geometry.crop_and_flip(recipe, view.draw(sample_keys), images, sample_keys, view.fill, 0)
    assert expected.shape[2] == size and torch.equal(view(images, sample_keys), expected)


def test_progressive_resolution():
    recipe = recipe_of("wrn", train_res=32, progressive_res=[16, 24, 32], epochs=9)
    _, device = augmentation(recipe)
    view, _ = augmentation(recipe_of("rsb_a2", train_res=48, progressive_res=[32, 48], epochs=2), one_size=False)
    for epoch, side in ((0, 16), (2, 16), (3, 24), (8, 32)):
        assert device(random_images(2), make_keys(2, epoch), epoch).shape[2:] == (side, side)
    for epoch, side in ((0, 32), (1, 48)):
        assert apply_view(view, photographs()[:2], make_keys(2, epoch)).shape[2:] == (side, side)


def test_an_alternating_flip_is_drawn_once():
    _, device = augmentation(recipe_of("wrn", hflip_alternating=True, crop="none"))
    images = random_images(400)
    first, second, third = (device(images, make_keys(400, epoch)) for epoch in range(3))
    assert torch.equal(second, first.flip(3)) and torch.equal(third, first)
    flipped = (first == device.normalise(images).flip(3)).flatten(1).all(1)
    assert flipped.float().mean() == pytest.approx(0.5, abs=0.08)


# ---- operations on single images


@pytest.mark.parametrize(
    ("key", "value"),
    [("rand_augment", "rand-m7-mstd0.5-inc1"), ("rand_augment", "rand-m9-mstd0.5-inc1"), ("auto_augment", "v0"),
     ("auto_augment", "original-mstd0.5"), ("rand_augment", "rand-m15-n3-mmax20-p0.7-tweights"), ("color_jitter", 0.4)],
)  # fmt: skip
@pytest.mark.parametrize("side", [40, 224])
def test_policies_and_jitter_equal_timms(key, value, side):
    recipe, policy = recipe_of("rsb_a2", rand_augment=""), value if key != "color_jitter" else None
    setattr(recipe, key, value)
    operation = per_image_operation(recipe, MEAN)
    options = {"auto_augment": policy, "color_jitter": 0.4, "interpolation": "bicubic", "mean": tuple(MEAN)}
    jitter = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)
    _, theirs, _ = create_transform(side, is_training=True, separate=True, **options)
    both = per_image_operation(recipe_of("rsb_a2", color_jitter=0.4), MEAN)  # in timm's order
    assert [type(step).__name__ for step in both.transforms] == ["RandAugment", "ColorJitter"]
    images, away = [image.resize((side, side)) for image in photographs()[:4]], []
    for sample in range(24):
        image, key_of_image = images[sample % 4], (1, sample, 0)
        found = apply_operation(image, operation, 0, key_of_image)
        reseed_python(0, "per image", *key_of_image)
        expected = (theirs if policy else jitter)(image)
        away.append(abs(numpy.asarray(found).astype(int) - numpy.asarray(expected)))
    if side == 40:
        assert not numpy.any(away)
    else:  # roundings, which a threshold may amplify
        assert numpy.mean(away) < 0.01 and numpy.mean(numpy.greater(away, 0)) < 0.005


def test_trivial_augment_equals_torchvisions():
    operation = per_image_operation(recipe_of("wrn", trivial_augment=True), MEAN)
    theirs = TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)
    for sample in range(40):
        image = photographs()[sample % 4]
        found = apply_operation(image, operation, 0, (1, sample, 0))
        torch.manual_seed(key_hash(0, "per image", 1, sample, 0))
        assert found.tobytes() == theirs(image).tobytes()


# ---- on the device


def test_lighting_equals_alexnets():
    device = augmentation(recipe_of("wrn", crop="none", pca_lighting=0.1, hflip=0.0))[1]
    images = random_images(6)
    added = (device(images, make_keys(6)) - device.normalise(images)).mean((2, 3)) * torch.tensor(STD)
    alpha = torch.special.ndtri(uniform(0, "lighting", make_keys(6), 3).double()) * 0.1
    expected = torch.stack([torch.tensor(EIGENVECTORS).double() @ (a * torch.tensor(EIGENVALUES)) for a in alpha])
    torch.testing.assert_close(added.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", ["pixel", "constant"])
def test_erased_boxes_equal_timms_and_torchvisions_for_the_same_draws(mode, monkeypatch):
    (low, high), (narrow, wide) = erasing.RANGES[mode]
    recipe, shape = recipe_of("wrn", erasing_prob=0.6, erasing_mode=mode), (200, 3, 24, 40)
    draws = {
        name: uniform(0, name, make_keys(200), count) for name, count in erasing.erasing_draws(recipe).items() if count
    }
    erased = erasing.erase(recipe, draws, torch.full(shape, 9.0), normal_quantiles())
    found = erased != 9
    theirs = random_erasing.RandomErasing(0.6, low, high, narrow, wide, device="cpu")
    for i in range(200):
        monkeypatch.setattr(random_erasing, "random", Replayed(draws["erasing"][i], float(draws["erased"][i])))
        assert torch.equal(found[i], theirs(torch.full(shape[1:], 9.0)) != 9)
    if mode == "pixel":
        noise = erased[found[:, 0, 12, 20], 0, 12, 20]  # of one pixel, of several images
        assert len(noise.unique()) == len(noise) > 9
        default = random_erasing.RandomErasing()
        assert (default.min_area, default.max_area, default.log_aspect_ratio) == (low, high, theirs.log_aspect_ratio)
    else:
        defaults = inspect.signature(RandomErasing).parameters
        assert [defaults[name].default for name in ("scale", "ratio", "value")] == [(low, high), (narrow, wide), 0]


def test_noise_equals_that_of_a_device_whose_boxes_are_not_read():
    pixels, quantiles, state = torch.randn(5, 3, 16, 20), normal_quantiles(), torch.arange(5) << 40
    found = boxes.random_erasing(uniform(0, "erasing", make_keys(5), 40), 16, 20, *erasing.RANGES["pixel"])
    ours = pixels.clone()
    erasing.fill_boxes(ours, found, quantiles, state)
    places = [(c << 40) + (y << 20) + x for c in range(3) for y in range(16) for x in range(5)]
    noise = normal_noise(quantiles, state[:, None, None, None] + torch.tensor(places).view(3, 16, 5) * GOLDEN)
    assert torch.equal(ours, torch.where(erasing.inside(pixels, found), noise, pixels))


def test_cutout_equals_the_papers():
    recipe, ones = recipe_of("wrn", cutout=8), torch.ones(300, 1, 20, 30)
    draws = {"cutout": uniform(0, "cutout", make_keys(300), 2)}
    found = erasing.erase(recipe, draws, ones.clone(), normal_quantiles())[:, 0] == 0
    for y, x, image in zip(*(draws["cutout"] * torch.tensor([20, 30])).long().unbind(1), found, strict=True):
        expected = torch.zeros(20, 30, dtype=torch.bool)
        expected[max(0, y - 4) : min(20, y + 4), max(0, x - 4) : min(30, x + 4)] = True
        assert torch.equal(image, expected)


# ---- views


@pytest.mark.parametrize(
    ("views", "crops"), [("five", five_crop), ("ten", ten_crop), ("", lambda x, n: five_crop(x, n)[4:])]
)
def test_crops_are_torchvisions(views, crops):
    images = torch.randn(2, 3, 64, 64)

    def network(images):
        return images.double().flatten(1)[:, ::7] ** 2

    expected = torch.stack([network(crop) for crop in crops(images, 56)]).mean(dim=0)
    torch.testing.assert_close(average_views(views, network, images, 56), expected)


def test_an_ensemble_is_the_mean_of_probabilities():
    networks, images = [torch.nn.Linear(3, 5) for _ in range(3)], 9 * torch.randn(2, 3)
    expected = torch.stack([network(images).softmax(1) for network in networks]).mean(0).log()
    torch.testing.assert_close(Ensemble(networks)(images), expected)


def test_validation_has_its_own_views():
    sizes, network = [], torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10))
    network.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    recipe = recipe_of("sgd_step", test_views="flip_translate")
    evaluator = Evaluator(network, recipe, torch.nn.Identity(), num_classes=10)
    batch = SimpleNamespace(images=torch.randn(4, 3, 8, 8), labels=torch.zeros(4, dtype=torch.int64))
    evaluator.validation_step(batch, 0)
    assert sum(sizes) == 4
    evaluator.test_step(batch, 0)
    assert sum(sizes) == 4 + 6 * 4


def test_views_equal_airbenchs():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 5))
    images = torch.randn(2, 3, 8, 8)

    def mirrored(images):
        return 0.5 * network(images) + 0.5 * network(images.flip(-1))

    padded = F.pad(images, (1,) * 4, "reflect")
    shifted = torch.stack([mirrored(padded[:, :, 0:8, 0:8]), mirrored(padded[:, :, 2:10, 2:10])]).mean(0)
    both = 0.5 * mirrored(images) + 0.5 * shifted
    for views, expected in {"": network(images), "flip": mirrored(images), "flip_translate": both}.items():
        torch.testing.assert_close(average_views(views, network, images), expected)

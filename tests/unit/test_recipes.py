"""The procedures' pure functions against timm, torch and PIL, and the randomness that they are functions of."""

from __future__ import annotations

import numpy
import pytest
import torch
from conftest import composed
from omegaconf import OmegaConf
from PIL import Image
from torch import nn
from torch.nn import functional as F

from recipes import geometry
from recipes.device_augmentation import DeviceAugmentation, erase
from recipes.mixing import Mix, draw_mix, mix_images, soft_targets
from recipes.optimizers import build_optimizer, parameter_groups
from recipes.randomness import normal, number, uniform
from recipes.recipe import OPTIMIZERS, RecipeError
from recipes.schedules import learning_rate
from recipes.worker_augmentation import BatchOfOneSize, BatchOfPhotographs, per_image_operation


def recipe_of(name: str, **changes):
    recipe = OmegaConf.to_object(composed(f"recipe={name}").recipe)
    for key, value in changes.items():
        setattr(recipe, key, value)
    return recipe


def origins(count: int, epoch: int = 3) -> torch.Tensor:
    samples = torch.arange(count)
    return torch.stack((torch.full_like(samples, epoch), samples, samples % 3), dim=1)


# ---- randomness


def test_uniform_is_a_function_of_the_origin_alone():
    whole = uniform(0, "flip", origins(1000), 4)
    assert torch.equal(uniform(0, "flip", origins(1000)[500:], 4), whole[500:])
    assert torch.equal(uniform(0, "flip", origins(1000), 2), whole[:, :2])
    for other in (uniform(1, "flip", origins(1000), 4), uniform(0, "crop", origins(1000), 4)):
        assert (other == whole).float().mean() < 0.01
    assert (uniform(0, "flip", origins(1000, epoch=4), 4) == whole).float().mean() < 0.01


def test_uniform_and_normal_have_their_moments():
    u, z = uniform(0, "u", origins(20_000), 4), normal(0, "z", origins(20_000), 4)
    assert u.min() >= 0 and u.max() < 1
    assert u.mean() == pytest.approx(0.5, abs=0.005) and u.var() == pytest.approx(1 / 12, abs=0.002)
    assert z.mean() == pytest.approx(0, abs=0.01) and z.var() == pytest.approx(1, abs=0.02)
    correlation = torch.corrcoef(u.T) - torch.eye(4)
    assert correlation.abs().max() < 0.02


def test_number_never_changes():
    assert number(0, "flip") == 6230295094555943024


# ---- schedule


def test_cosine_with_warmup_is_timms():
    from timm.scheduler import CosineLRScheduler

    recipe = recipe_of("rsb_a2")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    theirs = CosineLRScheduler(optimizer, 300, lr_min=1e-6, warmup_t=5, warmup_lr_init=1e-4)
    for epoch in range(300):
        theirs.step(epoch)
        first, last = (learning_rate(recipe, epoch * 625 + i, 625) for i in (0, 624))
        assert first == last == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


@pytest.mark.parametrize(
    ("name", "epochs_and_rates"),
    [
        ("resnet", {0: 0.1, 29: 0.1, 30: 0.01, 60: 0.001, 89: 0.001}),
        ("wrn", {0: 0.1, 59: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008}),
        ("resnet_cifar", {81: 0.1, 82: 0.01, 123: 0.001}),
    ],
)
def test_steps_are_the_papers(name, epochs_and_rates):
    recipe = recipe_of(name)
    for epoch, rate in epochs_and_rates.items():
        assert learning_rate(recipe, epoch * 10, 10) == pytest.approx(rate)


def test_linear_and_exponential_by_the_step():
    linear = recipe_of("sgd_step", schedule="linear", schedule_interval="step", epochs=10, lr=1.0, min_lr=0.1)
    assert learning_rate(linear, 50, 10) == pytest.approx(0.55)
    decay = recipe_of(
        "sgd_step", schedule="exponential", schedule_interval="step", decay_rate=0.02, decay_epochs=[400.0]
    )
    assert learning_rate(decay, 2000, 10) == pytest.approx(0.02 * 0.02**0.5)


# ---- loss and mixing



def test_mixing_is_timms():
    from timm.data.mixup import mixup_target

    images, labels = torch.randn(6, 3, 8, 8), torch.tensor([0, 1, 2, 3, 4, 5])
    mixed = mix_images(images.clone(), Mix(0.3, None))
    assert torch.allclose(mixed, images * 0.3 + images.flip(0) * 0.7)
    cut = mix_images(images.clone(), Mix(0.75, (2, 6, 0, 4)))
    assert torch.equal(cut[:, :, 2:6, :4], images.flip(0)[:, :, 2:6, :4])
    assert torch.equal(cut[:, :, :2], images[:, :, :2])
    theirs = mixup_target(labels, 10, lam=0.3, smoothing=0.1)
    assert torch.allclose(soft_targets(labels, 10, 0.1, Mix(0.3, None)), theirs)


def test_a_drawn_mix_is_a_function_of_its_key_and_its_share_the_boxs_area():
    recipe = recipe_of("rsb_a2")
    drawn = [draw_mix(recipe, 32, 32, 0, step) for step in range(2000)]
    assert drawn == [draw_mix(recipe, 32, 32, 0, step) for step in range(2000)]
    boxes = [mix for mix in drawn if mix.box]
    assert len(boxes) == pytest.approx(1000, abs=100)
    for share, (top, bottom, left, right) in boxes:
        assert share == 1 - (bottom - top) * (right - left) / 1024
    assert draw_mix(recipe_of("wrn"), 32, 32, 0, 1) is None



# ---- geometry against PIL


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(32, 32), (12, 20)])
def test_resized_crops_of_a_batch_are_pils(interpolation, size):
    # Away from 0 and 255, where what the first of the two passes clips depends on which is first.
    images = torch.randint(60, 190, (16, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    side = torch.full((16,), 32)
    boxes = geometry.crop_boxes(recipe_of("rsb_a2"), 0, origins(16), side, side)
    ours = geometry.resized_crop(images, boxes, size, interpolation)
    for image, box, found in zip(images, boxes.tolist(), ours, strict=True):
        pil = Image.fromarray(image.permute(1, 2, 0).numpy())
        top, left, height, width = map(int, box)
        cropped = pil.crop((left, top, left + width, top + height))
        theirs = numpy.array(cropped.resize(size[::-1], geometry.PIL_FILTERS[interpolation])).astype(int)
        assert numpy.abs(found.permute(1, 2, 0).numpy() - theirs).max() <= 1  # the rounding of its fixed-point filter


def test_boxes_of_random_resized_crop_have_its_areas_and_ratios():
    count = 20_000
    height, width = torch.full((count,), 300), torch.full((count,), 400)
    top, left, h, w = geometry.crop_boxes(recipe_of("rsb_a2"), 0, origins(count), height, width).unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (top + h <= 300).all() and (left + w <= 400).all()
    share, ratio = h * w / 120_000, w / h
    assert share.min() > 0.07 and share.max() <= 1 and ratio.min() > 0.74 and ratio.max() < 1.35
    # Large boxes often do not fit and are drawn again, so the mean is below that of U[0.08, 1], in torchvision too.
    transforms = pytest.importorskip("torchvision.transforms")
    image = torch.zeros(1, 300, 400)
    boxes = [transforms.RandomResizedCrop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(5000)]
    theirs = torch.tensor([[h * w / 120_000, w / h] for _, _, h, w in boxes])
    assert share.mean() == pytest.approx(float(theirs[:, 0].mean()), abs=0.015)
    assert torch.log(ratio).mean() == pytest.approx(float(torch.log(theirs[:, 1]).mean()), abs=0.015)


def test_padded_shift():
    image = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5)
    fill, shift = torch.tensor([9], dtype=torch.uint8), torch.tensor([[0, 3]])
    for mode, value in (("zero", 0), ("mean", 9)):
        out = geometry.padded_shift(image, 2, mode, fill, shift)
        assert torch.equal(out[0, 0, 2:, :4], image[0, 0, :3, 1:]) and (out[0, 0, :2] == value).all()
    reflected = geometry.padded_shift(image, 2, "reflect", fill, shift)
    expected = F.pad(image.float(), (2, 2, 2, 2), mode="reflect")[0, 0, :5, 3:8]
    assert torch.equal(reflected[0, 0].float(), expected)
    centre = geometry.padded_shift(image, 2, "reflect", fill, torch.tensor([[2, 2]]))
    assert torch.equal(centre, image)


def test_the_evaluation_crop_is_torchvisions():
    transforms = pytest.importorskip("torchvision.transforms")
    pixels = numpy.random.default_rng(0).integers(0, 256, (97, 140, 3), dtype=numpy.uint8)
    image = Image.fromarray(pixels)
    bicubic = transforms.InterpolationMode.BICUBIC
    theirs = transforms.Compose([transforms.Resize(67, bicubic), transforms.CenterCrop(64)])(image)
    assert numpy.array_equal(numpy.array(theirs), numpy.array(geometry.pil_centre_crop(image, 64, 0.95, "bicubic")))


# ---- augmentation

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.2, 0.2]
AUGMENTED = {
    "wrn": {},
    "rsb_a2": {},
    "resnet": {"train_res": 32, "crop_scale": [36, 64]},
    "resnet_cifar": {"erasing_prob": 0.5, "color_jitter": 0.4},
}


def augmentation(recipe, hflip=0.5, mean=MEAN, std=STD):
    """Both parts for images of one size: workers (None if they have nothing to do), device."""
    operation = per_image_operation(recipe, mean)
    workers = None
    if operation is not None:
        workers = BatchOfOneSize(recipe, seed=0, hflip=hflip, mean=mean, operation=operation)
    device = DeviceAugmentation(recipe, seed=0, hflip=hflip, mean=mean, std=std, crop_here=workers is None)
    return workers, device


@pytest.mark.parametrize(("name", "changes"), AUGMENTED.items())
def test_augmentation_is_a_function_of_image_and_origin(name, changes):
    workers, device = augmentation(recipe_of(name, **changes))
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8)

    def apply(part: slice) -> torch.Tensor:
        batch, origin = images[part], origins(12)[part]
        return device(batch if workers is None else workers(batch, origin), origin)

    whole = apply(slice(None))
    assert whole.shape == images.shape and whole.dtype == torch.float32
    assert torch.allclose(torch.cat((apply(slice(0, 5)), apply(slice(5, 12)))), whole, atol=1e-6)
    assert not torch.allclose(whole, device.normalise(images))


@pytest.mark.parametrize("changes", [{"rand_augment": "rand-m7"}, {"color_jitter": 0.4}, {"auto_augment": "v0"}])
def test_workers_have_no_device_state(changes):
    """The device's part moves to the device before workers start; padding with the mean colour stays on the host."""
    workers, device = augmentation(recipe_of("resnet_cifar", **changes))
    device.to("meta")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert workers is not None and workers(images, origins(2)).device.type == "cpu"
    assert device(images.to("meta"), origins(2).to("meta")).device.type == "meta"


def test_photographs_of_any_size():
    photographs = [Image.new("RGB", (60, 40), (10, 20, 30)), Image.new("RGB", (33, 90), (10, 20, 30))]
    recipe = recipe_of("rsb_a2", train_res=16)
    workers = BatchOfPhotographs(recipe, seed=0, hflip=0.5, operation=per_image_operation(recipe, MEAN))
    assert workers(photographs, origins(2)).shape == (2, 3, 16, 16)
    for name in ("wrn", "sgd_step"):
        with pytest.raises(RecipeError, match="recipe.crop=pad needs images of one size.*\n.*recipe.crop=rrc"):
            BatchOfPhotographs(recipe_of(name), seed=0, hflip=0.5, operation=None)


def test_grey_images():
    workers, device = augmentation(recipe_of("rsb_a2", pca_lighting=0.1), hflip=0.0, mean=[0.3], std=[0.3])
    images = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    assert workers(images, origins(4)).shape == images.shape and device.lighting == 0
    assert device(images, origins(4)).shape == images.shape


def test_erasing_covers_its_share_of_the_images():
    pixels = torch.zeros(2000, 1, 16, 16)
    erased = erase(pixels.clone(), 0.25, 0, origins(2000)) != 0
    share = erased.flatten(1).any(1).float().mean()
    assert share == pytest.approx(0.25, abs=0.04)
    area = erased.flatten(1).float().mean(1)
    assert area[area > 0].max() <= 0.40


# ---- optimiser and averages


def test_groups_and_optimizers():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    decayed, free = parameter_groups(network, 0.1, False, False)
    assert {p.ndim for p in decayed["params"]} == {4, 2} and {p.ndim for p in free["params"]} == {1}
    assert free["weight_decay"] == 0 and len(parameter_groups(network, 0.1, True, True)) == 1
    lamb = build_optimizer(recipe_of("rsb_a2"), network)
    assert type(lamb).__name__ == "Lamb"
    found = lamb.param_groups[0]
    assert (found["betas"], found["eps"], found["max_grad_norm"]) == ((0.9, 0.999), 1e-6, 1.0)
    assert not found["always_adapt"] and not found["trust_clip"] and found["weight_decay"] == 0.02
    sgd = build_optimizer(recipe_of("wrn"), network)
    assert sgd.param_groups[0]["nesterov"] and sgd.param_groups[0]["weight_decay"] == 5e-4


SETTINGS = {
    "sgd": {"beta2": 0.0, "eps": 0.0, "lamb_clip": 0.0},
    "lars": {"beta2": 0.0, "eps": 0.0, "lamb_clip": 0.0},
    "lion": {"beta2": 0.99, "eps": 0.0, "lamb_clip": 0.0},
    "lamb": {},
    **dict.fromkeys(("adamw", "adam", "nadamw", "rmsproptf"), {"lamb_clip": 0.0}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_two_steps_that_lower_the_loss(name):
    recipe = recipe_of("rsb_a2", optimizer=name, lr=1e-3, **SETTINGS[name])
    recipe.check()
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.randn(32, 3, 2, 2)
    labels = (images.sum((1, 2, 3)) > 0).long()
    optimizer, losses = build_optimizer(recipe, network), []
    for _ in range(3):
        loss = F.cross_entropy(network(images), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[2] < losses[1] < losses[0]

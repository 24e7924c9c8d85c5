"""Crops: boxes against timm and torchvision for the same draws, pixels against PIL's."""

import numpy
import pytest
import torch
from conftest import recipe_of
from distributions import uniform
from photographs import apply_view, make_keys, photographs
from PIL import Image
from replaying import Replayed
from torch.nn import functional as F

from lineage.datamodules.decoding import resampling
from lineage.datamodules.decoding.resampling import resize_and_crop_by_pillow, resize_box
from lineage.pillow import FILTERS, to_pixels
from lineage.recipes.augment import boxes, geometry
from lineage.recipes.augment.host import EvalCrop
from lineage.recipes.augment.resizing import resized_crop

SIZES = [(375, 500), (500, 333), (64, 64), (40, 400), (400, 40), (3, 5)]


def tensor(image: Image.Image) -> torch.Tensor:
    array = numpy.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def random_box(image: Image.Image, number: int, seed: int = 0) -> torch.Tensor:
    """(1, 4), the box of RandomResizedCrop for one of the photographs."""
    draws = uniform(seed, "crop", make_keys(9)[number : number + 1], 40)
    return boxes.random_resized_crop(draws, *sides(image), [0.08, 1.0], [3 / 4, 4 / 3])


def sides(image: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([image.height]), torch.tensor([image.width])


# ---- boxes


def test_boxes_of_random_resized_crop_are_timms_for_the_same_draws(monkeypatch):
    from timm.data import transforms

    draws, kinds = uniform(0, "crop", make_keys(600), 40), len(SIZES)
    height, width = (torch.tensor([SIZES[i % kinds][axis] for i in range(600)]) for axis in (0, 1))
    found = boxes.random_resized_crop(draws, height, width, [0.08, 1.0], [3 / 4, 4 / 3])
    for i, box in enumerate(found.tolist()):
        monkeypatch.setattr(transforms, "random", Replayed(draws[i]))
        image = Image.new("L", (int(width[i]), int(height[i])))
        theirs = transforms.RandomResizedCropAndInterpolation.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3))
        assert tuple(box) == theirs


def test_boxes_of_scale_jitter_are_those_of_a_resize_and_a_crop():
    draws = uniform(0, "crop", make_keys(3000), 3)
    height, width = torch.full((3000,), 375), torch.full((3000,), 500)
    top, left, h, w = boxes.scale_jitter(draws, height, width, [256, 480], 224).unbind(1)
    short = (224 * 375 / h).round()
    assert short.min() == 256 and short.max() == 480 and len(short.unique()) == 225
    long = (short * 500 / 375).floor()
    torch.testing.assert_close(w, 224 * 500 / long)
    corners = torch.stack((top * short / 375, left * long / 500))
    torch.testing.assert_close(corners, corners.round())
    assert corners.min() == 0 and (top + h).max() == 375 and (left + w).max() == 500


# ---- pixels


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "area"])
@pytest.mark.parametrize("size", [(224, 224), (12, 70)])
def test_crops_of_a_batch_are_pils_pass_by_pass(interpolation, size):
    square = photographs()[0].resize((96, 96))  # whose rows and columns are resized by the same kernels
    for number, image in enumerate([*photographs(), square]):
        box = random_box(image, number)
        found = resized_crop(tensor(image)[None], box, size, interpolation, beyond=False)[0]
        top, left, height, width = map(int, box[0])
        cut = image.crop((left, top, left + width, top + height))
        grows = height < size[0] or width < size[1]
        filter_ = FILTERS["bilinear" if interpolation == "area" and grows else interpolation]
        rows = cut.resize((size[1], height), filter_)
        assert torch.equal(found, tensor(rows.resize(size[::-1], filter_)))


# What the fast resizers may differ from Pillow by, in levels: on average, and where bicubic overshoots.
NEAR, FAR = {"bilinear": 0.3, "bicubic": 0.3, "area": 0.3}, {"bilinear": 2, "bicubic": 40, "area": 2}


@pytest.mark.parametrize("by_torch", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crops_of_photographs_are_nearly_torchvisions(interpolation, by_torch, monkeypatch):
    from torchvision.transforms import InterpolationMode, functional

    monkeypatch.setattr(resampling, "_torch_is_fast", lambda: by_torch)
    for number, image in enumerate(photographs()):
        box = random_box(image, number, seed=1)[0].tolist()
        theirs = functional.resized_crop(image, *map(int, box), [96, 96], InterpolationMode(interpolation))
        found = resize_box(to_pixels(image), tuple(box), (96, 96), interpolation, beyond=False)
        difference = numpy.abs(found.astype(int) - to_pixels(theirs))
        assert difference.mean() < NEAR[interpolation] and difference.max() <= FAR[interpolation]


def test_an_area_is_the_mean_of_its_pixels():
    image = photographs()[0]
    found = resize_box(to_pixels(image), (0, 0, 420, 640), (105, 160), "area", beyond=False)
    means = to_pixels(image)[:420].reshape(105, 4, 160, 4, 3).mean(axis=(1, 3))
    assert numpy.abs(found - means).max() <= 1
    grows = (0, 0, 40, 30), (64, 64)
    small, linear = (resize_box(to_pixels(image), *grows, name, beyond=False) for name in ("area", "bilinear"))
    assert numpy.array_equal(small, linear)


@pytest.mark.parametrize("cykooz", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_scale_jitter_is_a_resize_and_then_a_crop(interpolation, cykooz, monkeypatch):
    monkeypatch.setattr(resampling, "HAS_CYKOOZ", cykooz)
    for number, image in enumerate(photographs()):
        draws = uniform(0, "crop", make_keys(9)[number : number + 1], 3)
        box = boxes.scale_jitter(draws, *sides(image), [64, 90], 56)
        short = round(float(56 * min(image.size) / box[0, 2:].min()))
        width, height = boxes.resized_size(*image.size, short)
        top, left = round(float(box[0, 0] * height / image.height)), round(float(box[0, 1] * width / image.width))
        whole = image.resize((width, image.height), FILTERS[interpolation])
        whole = whole.resize((width, height), FILTERS[interpolation])
        theirs = tensor(whole.crop((left, top, left + 56, top + 56))).int()
        batch = resized_crop(tensor(image)[None], box, (56, 56), interpolation, beyond=True)[0]
        assert (batch - theirs).abs().max() <= 1
        one = resize_box(to_pixels(image), tuple(box[0].tolist()), (56, 56), interpolation, beyond=True)
        difference = numpy.abs(one.transpose(2, 0, 1).astype(int) - theirs.numpy())
        assert difference.mean() < NEAR[interpolation] and difference.max() <= FAR[interpolation]


@pytest.mark.parametrize("cykooz", [True, False])
def test_a_box_may_end_an_ulp_beyond_the_image(cykooz, monkeypatch):
    monkeypatch.setattr(resampling, "HAS_CYKOOZ", cykooz)
    """Of a million of scale_jitter's boxes of 500x500 pixels 1,400 do."""
    side = torch.full((20_000,), 500)
    found = boxes.scale_jitter(uniform(0, "crop", make_keys(20_000), 3), side, side, [256, 480], 224)
    beyond = found[(found[:, :2] + found[:, 2:] > 500).any(dim=1)]
    assert len(beyond) > 10
    for number, image in enumerate(
        (to_pixels(photographs()[0].resize((500, 500))), numpy.zeros((500, 500, 1), "uint8"))
    ):
        for box in beyond[number::2]:
            assert resize_box(image, tuple(box.tolist()), (224, 224), "bilinear", beyond=True).shape[:2] == (224, 224)


def test_padded_shift():
    image = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5)
    fill, shift = torch.tensor([9], dtype=torch.uint8), torch.tensor([[0, 3]])
    for mode, value in (("zero", 0), ("mean", 9)):
        out = geometry.padded_shift(image, 2, mode, fill, shift)
        assert torch.equal(out[0, 0, 2:, :4], image[0, 0, :3, 1:]) and (out[0, 0, :2] == value).all()
    reflected = geometry.padded_shift(image, 2, "reflect", fill, shift)
    expected = F.pad(image.float(), (2, 2, 2, 2), mode="reflect")[0, 0, :5, 3:8]
    assert torch.equal(reflected[0, 0].float(), expected)
    recipe = recipe_of("wrn", hflip=0.0, crop_padding=2, crop_padding_mode="zero")
    draws = {"crop": torch.tensor([[0.0, 0.5], [0.5, 0.5], [0.9999, 0.5]])}  # up to the last of five shifts
    first, middle, last = geometry.crop_and_flip(recipe, draws, image.expand(3, 1, 5, 5), make_keys(3), fill, 0)[:, 0]
    assert torch.equal(first[2:], image[0, 0, :3]) and torch.equal(middle, image[0, 0])
    assert torch.equal(last[:3], image[0, 0, 2:])


# ---- evaluation


def test_the_short_sides_size_is_torchvisions_for_every_image():
    from torchvision.transforms.functional import _compute_resized_output_size

    for width in range(64, 641, 3):
        for height in range(64, 641):
            ours = boxes.resized_size(width, height, 256)
            assert list(ours[::-1]) == _compute_resized_output_size((height, width), [256])


@pytest.mark.parametrize(
    ("size", "ratio", "interpolation"), [(224, 0.95, "bicubic"), (96, 0.875, "bilinear"), (75, 1, "bicubic")]
)
def test_evaluation_has_timms_pixels(size, ratio, interpolation):
    from timm.data import create_transform

    theirs = create_transform(size, interpolation=interpolation, crop_pct=ratio, normalize=False)
    recipe = recipe_of("rsb_a2", test_res=size, test_crop_ratio=ratio, test_interpolation=interpolation)
    expected = torch.stack([theirs(image) for image in photographs()[:4]])
    assert torch.equal(apply_view(EvalCrop(recipe), photographs()[:4], make_keys(4)), expected)
    fast = apply_view(EvalCrop(recipe, exact=False), photographs()[:4], make_keys(4))
    assert (fast.float() - expected).abs().mean() < NEAR[interpolation]


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("size", [(60, 90), (90, 60), (300, 61), (61, 300), (20, 30), (48, 70)])  # width, height
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_leaving_out_columns_between_pillows_passes_changes_nothing(size, interpolation, mode):
    picture, (width, height) = photographs()[0].resize(size).convert(mode), size
    resized = (48, 48 * height // width) if width < height else (48 * width // height, 48)
    top, left = round((resized[1] - 40) / 2), round((resized[0] - 40) / 2)
    expected = picture.resize(resized, FILTERS[interpolation]).crop((left, top, left + 40, top + 40))
    found = resize_and_crop_by_pillow(picture, resized[::-1], (40, 40), interpolation)
    assert numpy.array_equal(found, to_pixels(expected))


def test_the_central_box_is_where_the_resized_photograph_is_cut():
    sizes = torch.tensor([(197, 394), (375, 500), (64, 64), (333, 500)])
    for (height, width), box in zip(sizes.tolist(), boxes.central_crop(sizes, 256, 224).tolist(), strict=True):
        new_width, new_height = boxes.resized_size(width, height, 256)
        left = round((new_width - 224) / 2) * width / new_width
        assert box == pytest.approx(
            [16 * height / new_height, left, 224 * height / new_height, 224 * width / new_width]
        )

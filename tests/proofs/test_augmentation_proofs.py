"""A thousand photographs as timm shows them, and 30,000 draws of mixing as timm draws them."""

import numpy
import pytest
import torch
from conftest import recipe_of
from distributions import distance_from_uniform, distance_of_samples
from photographs import SAMPLES
from PIL import Image
from timm.data import create_transform
from timm.data.mixup import cutmix_bbox_and_lam

from lineage.datamodules.decoding.decoding import open_image
from lineage.recipes.augment.host import EvalCrop
from lineage.recipes.mixing import draw_mix

pytestmark = pytest.mark.proofs


@pytest.mark.parametrize(("size", "ratio", "interpolation"), [(224, 0.95, "bicubic"), (224, 224 / 232, "bilinear")])
def test_evaluation_shows_what_timm_shows_of_a_thousand_photographs(size, ratio, interpolation):
    if not SAMPLES.is_dir():
        pytest.skip("no photographs: set LINEAGE_DATA to a folder that holds imagenet-sample/train")
    theirs = create_transform(size, interpolation=interpolation, crop_pct=ratio, normalize=False)
    recipe = recipe_of("rsb_a2", test_res=size, test_crop_ratio=ratio, test_interpolation=interpolation)
    view = EvalCrop(recipe, exact=True)
    for path in sorted(SAMPLES.rglob("*.JPEG")):
        picture = open_image(path.read_bytes(), 3, rotate=False)
        (cut,) = view.crops(torch.zeros(1, 3), torch.tensor([picture.size]))
        found = torch.from_numpy(picture.crop_resize(cut).copy()).permute(2, 0, 1)
        assert torch.equal(found, theirs(Image.open(path).convert("RGB"))), path


@pytest.mark.parametrize("side", [32, 224])
def test_shares_and_boxes_are_distributed_as_in_theory_and_in_timm(side):
    count, theirs = 30_000, numpy.random.RandomState(0)
    numpy.random.seed(0)
    alphas = ((0.1, 0.0), (1.0, 0.0), (0.0, 1.0))
    recipes = [recipe_of("rsb_a2", mixup_alpha=mixup, cutmix_alpha=cutmix) for mixup, cutmix in alphas]
    sharp, flat = (torch.tensor([draw_mix(one, side, side, 0, i).lam for i in range(count)]) for one in recipes[:2])
    assert distance_of_samples(sharp, torch.from_numpy(theirs.beta(0.1, 0.1, count)).float()) < 1.63
    assert distance_from_uniform(flat) < 1.63  # Beta(1, 1)
    found = [draw_mix(recipes[2], side, side, 0, i) for i in range(count)]
    drawn = [cutmix_bbox_and_lam((side, side), theirs.beta(1, 1)) for _ in range(count)]
    ours = torch.tensor([[*mix.box, mix.lam] for mix in found]).T
    for numbers, expected in zip(ours, torch.tensor([[*box, share] for box, share in drawn]).T, strict=True):
        assert distance_of_samples(numbers, expected) < 1.63

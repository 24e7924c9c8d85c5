"""Shears and translations equal timm's, which are Pillow's, but for roundings."""

import numpy
import pytest
import timm.data.auto_augment
from photographs import photographs
from PIL import Image

from lineage.recipes.augment.affine import AFFINE_OPERATIONS

FILL = (124, 116, 104)
FILTERS = [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR]
AMOUNTS = {"shear": (0.2137, -0.3), "translate_rel": (0.1234, -0.45), "translate_abs": (17.377, -250.1)}
# Shifts by binary fractions of a pixel.
EXACT = {"shear": (0.25, -2), "translate_rel": (0.5, 0), "translate_abs": (17.5, -30)}


def images():
    noise = numpy.random.default_rng(0)
    small = [noise.integers(0, 256, (*size, 3), dtype=numpy.uint8) for size in ((1, 5), (5, 1), (2, 2), (32, 40))]
    flat = Image.new("RGB", (50, 40), FILL)
    return [image.resize((224, 224)) for image in photographs()[:2]] + [flat, *map(Image.fromarray, small)]


def both(name, image, amount, resample):
    """timm's and ours, (H, W, 3) of whole numbers."""
    options = {"resample": resample, "fillcolor": FILL}
    functions = (getattr(timm.data.auto_augment, name), AFFINE_OPERATIONS[name])
    return [numpy.asarray(function(image, amount, **options)).astype(int) for function in functions]


@pytest.mark.parametrize("table", [AMOUNTS, EXACT], ids=["any", "binary"])
@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize("name", AFFINE_OPERATIONS)
def test_an_operation_equals_timms(name, resample, table):
    """But for roundings; exactly, where shifts are binary fractions of a pixel."""
    for image in images():
        for amount in table[name.replace("_x", "").replace("_y", "")]:
            theirs, ours = both(name, image, amount, resample)
            if table is EXACT:
                assert (theirs == ours).all()
            assert abs(theirs - ours).max() <= 1
            assert (theirs != ours).mean() < 0.01 or image.width < 224
            assert image.width != 50 or (ours == FILL).all()

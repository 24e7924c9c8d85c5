"""Depth and width of a network, scaled: MobileNet's multipliers, EfficientNet's compound coefficient."""

import math
from collections.abc import Sequence


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, half up; the next one where that would lose more than 10 %.

    Source: the released code of MobileNet v2 (arXiv 1801.04381) and EfficientNet (arXiv 1905.11946).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


# Compound scaling, arXiv 1905.11946, section 3.3: a unit of phi multiplies depth, width, resolution by these, and the
# operations by about two: 1.2 * 1.1^2 * 1.15^2 = 1.92.
ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15


def compound_scale(
    depths: Sequence[int],
    widths: Sequence[int],
    width_mult: float = 1.0,
    depth_mult: float = 1.0,
    phi: float = 0.0,
) -> tuple[list[int], list[int]]:
    """Scale any network's layers per stage (rounded up) and channels (to multiples of 8).

    Args:
        depths, widths: layers of each stage; channels of each stage, stem and head. They may differ in number.
        width_mult, depth_mult: as given, as in MobileNet's alpha or EfficientNet's published table.
        phi: the compound coefficient of arXiv 1905.11946, 1.2^phi in depth and 1.1^phi in width.
    """
    depth_mult, width_mult = depth_mult * ALPHA**phi, width_mult * BETA**phi
    # 1e-9, because 1.1 * 10 is 11.000000000000002
    layers = [math.ceil(depth * depth_mult - 1e-9) for depth in depths]
    return layers, [round_channels(width * width_mult) for width in widths]

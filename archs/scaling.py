"""Compound scaling of depth, width and resolution (Tan, Le 2019), arXiv 1905.11946, section 3.3.

Depth grows by alpha^phi, width by beta^phi and the image's side by gamma^phi; 1.2, 1.1 and 1.15 are the paper's values,
found for EfficientNet-B0. The side is a matter of the data: `${scaled_side:224}` in conf/arch (photographs, in recipes
that take the network's resolution) and in conf/datamodule (images of one size).

At phi=1 the multiply-adds grow by alpha * beta^2 * gamma^2, nominally. Layers, channels and pixels are rounded: the
paper's values are nominally 1.92, and 2.57 for B0.
"""

import math
from collections.abc import Iterable
from typing import Annotated

from lineage.archs.blocks import round_channels

ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15
Phi = Annotated[float, "-10 <= x <= 10"]


def scale_depths(layers: Iterable[int], factor: float) -> list[int]:
    """Layers of each stage, rounded up."""
    return [math.ceil(count * factor - 1e-9) for count in layers]  # 2.2 * 25 is 55.00000000000001


def scale_widths(channels: Iterable[int], factor: float) -> list[int]:
    """Channels, to multiples of 8; as they are at factor 1."""
    return [round_channels(width * factor) if factor != 1 else width for width in channels]


def resolution_note(factor: float) -> list[str]:
    """For the first lines of a run, what MobileNet's resolution multiplier does; nothing at 1."""
    cost = f"about {factor**2:.3g} x the multiply-adds, unless the command gives a resolution"
    return [f"arch.resolution_mult={factor:g}: {cost}"] if factor != 1 else []


def scaling_note(alpha: float, beta: float, gamma: float, phi: float) -> list[str]:
    """For the first lines of a run, what phi does; nothing at 0."""
    depth, width, side = alpha**phi, beta**phi, gamma**phi
    cost = f"nominally {depth * width**2 * side**2:.3g} x the multiply-adds"
    note = f"arch.phi={phi:g}: depth x {depth:.3g}, width x {width:.3g}, resolution x {side:.3g}, {cost}"
    return [note] if phi else []

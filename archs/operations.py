"""The search space of NASNet (Zoph et al. 2017), arXiv 1707.07012, section 3.1: the operations on a state.

What the paper leaves open is as in the authors' release, TF-slim.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]


def normalisation(kind: str, eps: float, momentum: float) -> Norm:
    """Of so many channels: batch, layer or instance."""
    norms: dict[str, Norm] = {
        "batch": partial(nn.BatchNorm2d, eps=eps, momentum=momentum),
        "layer": partial(nn.GroupNorm, 1, eps=eps),
        "instance": partial(nn.InstanceNorm2d, eps=eps, affine=True),
    }
    return norms[kind]


def same_padding_before(x: Tensor, stride: Sequence[int], zeros_after: Sequence[int]) -> list[int]:
    """TensorFlow's SAME: as many before a side as after it, and one less at stride 2 where the side is even."""
    rows = zip(x.shape[2:], stride, zeros_after, strict=True)
    return [max(zeros - (step == 2 and side % 2 == 0), 0) for side, step, zeros in rows]


class Conv(nn.Conv2d):
    """Convolution without bias: (B, in, H, W) -> (B, out, ceil(H/stride), ceil(W/stride))."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[int, int], stride: tuple[int, int],
        dilation: int = 1, groups: int = 1,
    ) -> None:  # fmt: skip
        self.after = (kernel[0] // 2 * dilation, kernel[1] // 2 * dilation)
        super().__init__(in_channels, out_channels, kernel, stride, self.after, dilation, groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        before = same_padding_before(x, self.stride, self.after)
        height, width = self.after[0] - before[0], self.after[1] - before[1]
        if height or width:
            x = F.pad(x, (0, width, 0, height))
        return F.conv2d(x, self.weight, None, self.stride, before, self.dilation, self.groups)


def convolutions(
    in_channels: int, out_channels: int, stride: int, norm: Norm,
    kernels: Sequence[tuple[int, int]] = ((1, 1),), dilation: int = 1, separable: bool = False,
) -> nn.Sequential:  # fmt: skip
    """Convolution and normalisation for each kernel, ReLU between; the ReLU before the first is the cell's."""
    layers: list[nn.Module] = []
    strides = (stride, stride)
    for kernel in kernels:
        step = (strides[0] if kernel[0] == max(kernel) else 1, strides[1] if kernel[1] == max(kernel) else 1)
        strides = (strides[0] // step[0], strides[1] // step[1])  # 1x7 takes the stride in width, 7x1 that in height
        layers += [nn.ReLU(inplace=True)] if layers else []
        if separable:
            layers.append(Conv(in_channels, in_channels, kernel, step, groups=in_channels))
            kernel, step = (1, 1), (1, 1)
        layers += [Conv(in_channels, out_channels, kernel, step, dilation), norm(out_channels)]
        in_channels = out_channels
    return nn.Sequential(*layers)


def identity(in_channels: int, out_channels: int, stride: int, norm: Norm) -> nn.Module:
    """The state itself; where shapes change, a 1x1."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return convolutions(in_channels, out_channels, stride, norm)


class FactorizedReduction(nn.Module):
    """Half the channels from even pixels, half from odd: (B, in, H, W) -> (B, out, ceil(H/2), ceil(W/2))."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.even = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels - out_channels // 2, 1, bias=False)
        self.norm = norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        odd = F.pad(x[:, :, 1::2, 1::2], (0, x.shape[3] % 2, 0, x.shape[2] % 2))  # of five: pixels 1, 3 and a zero
        return self.norm(torch.cat((self.even(x[:, :, ::2, ::2]), self.odd(odd)), dim=1))


def fit(in_channels: int, out_channels: int, stride: int, norm: Norm) -> nn.Module:
    """Bring an earlier state to the shape of a later one."""
    if stride == 2:
        return FactorizedReduction(in_channels, out_channels, norm)
    return identity(in_channels, out_channels, 1, norm)


class Pool(nn.Module):
    """Maximum or mean over what is not padding; where widths change, a 1x1 after it.

    `count_zeros` takes the zeros of the padding into a mean of stride 2.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, norm: Norm, kernel: int,
        pool: Callable[..., Tensor], count_zeros: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pool, self.kernel, self.stride = pool, kernel, stride
        self.count_zeros = count_zeros and stride == 2
        self.project = identity(in_channels, out_channels, 1, norm)

    def forward(self, x: Tensor) -> Tensor:
        after = self.kernel // 2
        before = same_padding_before(x, (self.stride, self.stride), (after, after))
        if self.count_zeros:
            x, before = F.pad(x, (before[1], after, before[0], after)), [0, 0]
        # ceil_mode lets the last window reach over the end by what SAME pads there
        x = self.pool(x, self.kernel, self.stride, before, ceil_mode=True)
        return self.project(x)


mean_pool = partial(F.avg_pool2d, count_include_pad=False)

# By their names in archs/genotype.py; each takes (in_channels, out_channels, stride, norm).
OPERATIONS: dict[str, Callable[..., nn.Module]] = {
    "identity": identity,
    "conv1x3": partial(convolutions, kernels=((1, 3), (3, 1))),
    "conv1x7": partial(convolutions, kernels=((1, 7), (7, 1))),
    "dil3": partial(convolutions, kernels=((3, 3),), dilation=2),
    "avg3": partial(Pool, kernel=3, pool=mean_pool),
    "max3": partial(Pool, kernel=3, pool=F.max_pool2d),
    "max5": partial(Pool, kernel=5, pool=F.max_pool2d),
    "max7": partial(Pool, kernel=7, pool=F.max_pool2d),
    "conv1": convolutions,
    "conv3": partial(convolutions, kernels=((3, 3),)),
    "sep3": partial(convolutions, kernels=((3, 3), (3, 3)), separable=True),  # separable ones are applied twice
    "sep5": partial(convolutions, kernels=((5, 5), (5, 5)), separable=True),
    "sep7": partial(convolutions, kernels=((7, 7), (7, 7)), separable=True),
}
# Those of timm's port, as TensorFlow pads and as timm does.
PADDINGS = {
    "same": OPERATIONS,
    "timm": OPERATIONS | {"avg3": partial(Pool, kernel=3, pool=mean_pool, count_zeros=True)},
}

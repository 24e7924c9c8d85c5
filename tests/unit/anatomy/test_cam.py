"""Class activation maps beside captum's, of every family."""

import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from lineage.anatomy.cam import class_activation_maps
from lineage.archs import catalogue

FAMILIES = {  # name: arguments, side of the image
    "lenet5": ({"in_channels": 1}, 32),
    "alexnet": ({}, 224),
    "vgg11_bn": ({}, 64),
    "googlenet": ({}, 96),
    "inception_v3": ({}, 139),
    "resnet18": ({}, 96),
    "preact_resnet18": ({}, 64),
    "wideresnet": ({"depth": 10}, 32),
    "se_resnet50": ({}, 64),
    "densenet_bc": ({"depth": 22}, 32),
    "mobilenet_v2": ({}, 96),
    "xception": ({}, 128),
    "nasnet_a_mobile": ({}, 128),
    "efficientnet_b0": ({}, 96),
    "airbench": ({}, 32),
}


def assert_equals_captum(network, channels, side):
    torch.manual_seed(0)
    pixels, classes = torch.randn(2, channels, side, side, dtype=torch.float64), torch.tensor([1, 3])
    network = network.double().eval().requires_grad_(False)
    maps, layer = class_activation_maps(network, pixels, classes)
    network.requires_grad_(True)
    expected = LayerGradCam(network, network.get_submodule(layer)).attribute(pixels, classes, relu_attributions=True)
    assert maps.shape == (2, *expected.shape[2:]) and maps[0].numel() > 1
    scale = expected.abs().max().clamp_min(1e-12)
    torch.testing.assert_close(maps.double() / scale, expected[:, 0] / scale, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_maps_are_captums(name):
    arguments, side = FAMILIES[name]
    assert_equals_captum(catalogue.build(name, num_classes=5, **arguments), arguments.get("in_channels", 3), side)


@pytest.mark.parametrize("name", ["resnet18", "regnetx_002"])
def test_maps_of_timms_models(name):
    import timm

    assert_equals_captum(timm.create_model(name, num_classes=5), 3, 64)


class ChannelsLast(nn.Module):
    """Maps (B, h, w, C) before the head, as in timm's Swin."""

    output_fmt = "NHWC"

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last, self.head = nn.Conv2d(3, 4, 3), nn.Identity(), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.last(self.conv(x).permute(0, 2, 3, 1)).mean(dim=(1, 2)))


def test_maps_with_channels_last():
    """Of a mean and a linear layer: the maps weighted by the class's weights, over the number of places."""
    torch.manual_seed(0)
    network, pixels = ChannelsLast().eval(), torch.randn(1, 3, 7, 9)
    maps, layer = class_activation_maps(network, pixels, torch.tensor([1]))
    expected = (network.conv(pixels) * network.head.weight[1].view(1, 4, 1, 1)).sum(dim=1).relu() / 35
    assert layer == "last" and maps.shape == (1, 5, 7)
    torch.testing.assert_close(maps, expected)

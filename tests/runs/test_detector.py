"""examples/detector.py: shapes are where their boxes say, and a detector reads and trains any network."""

import pytest
import torch

from examples import detector
from lineage import build
from lineage.errors import UserError


def test_boxes_hold_their_shapes():
    for seed in range(20):
        image, target = detector.draw(seed)
        assert torch.equal(image, detector.draw(seed)[0]) and 1 <= len(target["boxes"]) == len(target["labels"]) <= 4
        for left, top, right, low in target["boxes"].int().tolist():
            colour = image[:, low - 1, (left + right) // 2]  # the middle of a shape's lowest line is its own
            around = image[:, max(top - 2, 0) : low + 2, max(left - 2, 0) : right + 2]
            y, x = (around == colour[:, None, None]).all(dim=0).nonzero(as_tuple=True)
            assert (x.min(), y.min()) == (min(left, 2), min(top, 2))
            assert (x.max() - x.min() + 1, y.max() - y.min() + 1) == (right - left, low - top)


# The last stages of strides 4, 8 and 16 in Table 2 of MobileNet v2; of stride 4, which is the largest of ResNet-20.
@pytest.mark.parametrize(("arch", "channels"), [("mobilenet_v2", [24, 32, 96]), ("resnet_cifar", [64])])
def test_a_network_is_read_and_trained(arch, channels):
    model = detector.detector(build(arch, num_classes=0))
    assert [block[0].in_channels for block in model.backbone.fpn.inner_blocks] == channels
    first = next(model.backbone.network.stem.parameters())
    before = first.detach().clone()
    assert torch.tensor(list(detector.train(model, steps=2, batch=2, lr=1e-3, seed=0))).isfinite().all()
    assert not torch.equal(first, before)


@pytest.mark.parametrize(("shift", "precision"), [(0, 1.0), (1, 0.0)])
def test_mean_average_precision(shift, precision):
    """Of answers that name every shape, and of those that give each another name."""
    pytest.importorskip("pycocotools")
    targets = [detector.draw(seed)[1] for seed in range(8)]
    scored = [{"labels": (one["labels"] + shift) % 3, "scores": torch.ones(len(one["labels"]))} for one in targets]
    answers = iter([one | score for one, score in zip(targets, scored, strict=True)])
    oracle = torch.nn.Module()
    oracle.forward = lambda images: [next(answers)]
    assert detector.evaluate(oracle, images=8) == {"map": precision, "map_50": precision}


@pytest.mark.parametrize("word", ["stebs=9", "steps=many", "steps=0", "lr=-1", "arch.widths=[1"])
def test_a_wrong_option_is_named(word):
    with pytest.raises(UserError, match=word.partition("=")[0]):
        detector.read([word])
    options, arguments = detector.read(["lr=1e-2", "seed=0", "arch.depth=56"])
    assert (options["lr"], options["seed"], arguments) == (0.01, 0, {"in_channels": 3, "depth": 56})

"""A detector of torchvision's on a network of this project, trained for minutes on shapes that it draws itself:

    python examples/detector.py arch=resnet18     # after pip install -r examples/requirements.txt
    python examples/detector.py arch=resnet50 pretrained=torchvision steps=1000

RetinaNet (Lin et al. 2017, arXiv 1708.02002) with a feature pyramid (arXiv 1612.03144), which reads the maps of the
network's stages: `stage_info` tells their channels and strides, `forward_intermediates` computes them. It ends with
COCO's mean average precision, over IoU from 0.5 to 0.95, of images that were not trained on.
"""

import random
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy
import torch
import yaml
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork

from lineage import build
from lineage.archs.network import Network
from lineage.errors import UserError

SHAPES = ("disc", "square", "triangle")
SIDE, SIZES = 128, (16, 56)  # pixels: of an image's side, of a shape's
TESTED = 200  # images
OPTIONS: dict[str, Any] = {"arch": "resnet18", "pretrained": "", "steps": 400, "batch": 8, "lr": 1e-3, "seed": 0}


def draw(seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """An image (3, SIDE, SIDE) in [0, 1] with one to four shapes on noise, and its targets as torchvision has them:
    `boxes` (n, 4) as x0, y0, x1, y1 and `labels` (n,). The same seed, the same image."""
    choose, noise = random.Random(seed), numpy.random.default_rng(seed)
    image = Image.fromarray(noise.integers(96, 160, (SIDE // 8, SIDE // 8, 3), dtype=numpy.uint8)).resize((SIDE, SIDE))
    pencil, boxes, labels = ImageDraw.Draw(image), list[tuple[int, ...]](), list[int]()
    for _ in range(choose.randint(1, 4)):
        side = choose.randint(*SIZES)
        x, y = choose.randrange(SIDE - side), choose.randrange(SIDE - side)
        if any(x < right and left < x + side and y < low and top < y + side for left, top, right, low in boxes):
            continue  # it would hide another one
        label, colour = choose.randrange(len(SHAPES)), tuple(noise.integers(0, 256, 3).tolist())
        right, low = x + side - 1, y + side - 1  # the last pixel
        if SHAPES[label] == "disc":
            pencil.ellipse((x, y, right, low), colour)
        elif SHAPES[label] == "square":
            pencil.rectangle((x, y, right, low), colour)
        else:
            pencil.polygon([(x, low), (right, low), (x + side // 2, y)], colour)
        boxes.append((x, y, x + side, y + side))
        labels.append(label)
    pixels = torch.from_numpy(numpy.array(image)).permute(2, 0, 1) / 255
    return pixels, {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels)}


class Pyramid(nn.Module):
    """From images to maps of equal channels, the finest first: what torchvision's detectors call a backbone."""

    def __init__(self, network: Network, out_channels: int = 64) -> None:
        super().__init__()
        self.network, self.out_channels = network, out_channels
        stages = {info.stride: place for place, info in enumerate(network.stage_info)}  # the last stage of each stride
        self.places = [place for stride, place in sorted(stages.items()) if stride >= 4][:3]
        if not self.places:
            raise UserError("a detector needs a network that has a stage of stride 4 or more.")
        self.fpn = FeaturePyramidNetwork([network.stage_info[place].channels for place in self.places], out_channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.network.forward_intermediates(images)
        found: dict[str, Tensor] = self.fpn({str(place): maps[place] for place in self.places})
        return found


def detector(network: Network) -> RetinaNet:
    """RetinaNet with three sizes of anchors for each map, from the smallest shapes to the largest."""
    pyramid = Pyramid(network)
    sizes = numpy.geomspace(*SIZES, 3 * len(pyramid.places)).reshape(-1, 3).tolist()
    anchors = AnchorGenerator(sizes, [(1.0,)] * len(sizes))
    return RetinaNet(pyramid, len(SHAPES), SIDE, SIDE, anchor_generator=anchors, detections_per_img=100)


def train(model: RetinaNet, steps: int, batch: int, lr: float, seed: int) -> Iterator[float]:
    """Take the steps, each on images of its own; yields the loss of each."""
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        drawn = [draw(seed * 10**9 + TESTED + step * batch + place) for place in range(batch)]
        loss = sum(model.train()(*map(list, zip(*drawn, strict=True))).values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield loss.item()


@torch.no_grad()
def evaluate(model: RetinaNet, images: int = TESTED) -> dict[str, float]:
    """`map`, and `map_50` at an IoU of 0.5, of the images of seeds 0, 1, 2, ..."""
    metric = MeanAveragePrecision()
    for seed in range(images):
        image, target = draw(seed)
        metric.update(model.eval()([image]), [target])
    return {key: value.item() for key, value in metric.compute().items() if key in ("map", "map_50")}


def read(words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options and the arguments of the network that words like steps=1000 and arch.depth=56 give.

    Raises:
        UserError: a word is no option, or has a value that it cannot have.
    """
    options, arguments = dict(OPTIONS), dict[str, Any](in_channels=3)
    for word in words:
        key, _, value = word.partition("=")
        try:
            if key.startswith("arch."):
                arguments[key.removeprefix("arch.")] = yaml.safe_load(value)
            elif key in OPTIONS:
                options[key] = type(OPTIONS[key])(value)
            else:
                raise UserError(f"{word}: there is no such option; there is {', '.join(OPTIONS)}, and arch.ARGUMENT.")
        except (ValueError, yaml.YAMLError):
            raise UserError(f"{word}: {value} is no value of {key}.") from None
    for key in ("steps", "batch", "lr", "seed"):
        if options[key] < 0 or options[key] == 0 and key != "seed":
            raise UserError(f"{key}={options[key]}: it is positive.")
    return options, arguments


def main(words: list[str]) -> None:
    options, arguments = read(words)
    try:
        MeanAveragePrecision()
    except ModuleNotFoundError:
        raise UserError("Mean average precision needs pycocotools: pip install -r examples/requirements.txt") from None
    name, start = options.pop("arch"), time.monotonic()
    torch.manual_seed(options["seed"])
    model = detector(build(name, pretrained=options.pop("pretrained") or None, num_classes=0, **arguments))
    for step, loss in enumerate(train(model, **options), start=1):
        if step % 50 == 0:
            print(f"step {step} of {options['steps']}, loss {loss:.3f}, {time.monotonic() - start:.0f} s", flush=True)
    found = evaluate(model)
    print(f"{name}: mAP {found['map']:.3f}, at IoU 0.5 {found['map_50']:.3f}, of {TESTED} images")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.exit(print(f"{__doc__}\nOptions: {', '.join(f'{key}={value}' for key, value in OPTIONS.items())}"))
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))

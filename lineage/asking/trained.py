"""A trained network that is asked about images, without Lightning, whose import takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from lineage import assemble
from lineage.analysis.answers import Answer, answers
from lineage.analysis.contact_sheet import overlaid
from lineage.anatomy.cam import class_activation_maps
from lineage.config.derived import eval_size
from lineage.datamodules.discovery.scanning import printable
from lineage.datamodules.images import Fault
from lineage.datamodules.sets.image_files import ImageFiles, find_images
from lineage.errors import UserError
from lineage.recipes.augment.device import Normalise
from lineage.recipes.augment.host import EvalCrop
from lineage.recipes.inference import MULTI_CROP, average_views
from lineage.running.precision import choose_precision, first_device


class Trained:
    """The network of a config on this machine's first device, with the precision and views of an evaluation.

    Raises:
        UserError, ArchitectureError: see assemble.network.
    """

    def __init__(self, cfg: DictConfig) -> None:
        from lineage.anatomy.cost import count_macs

        machine, data = cfg.trainer, cfg.datamodule
        self.device, precision = first_device(machine.accelerator), machine.precision
        network: Any = assemble.network(cfg, weights=True, new_head=False)
        if precision == "auto":
            macs = count_macs(network, data.channels, eval_size(cfg))
            precision = choose_precision(machine.accelerator, machine.mixed_precision, macs)
        self.autocast = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
        self.memory_format = torch.channels_last if machine.channels_last else torch.contiguous_format
        self.network = network.to(self.device, memory_format=self.memory_format).eval().requires_grad_(False)
        self.normalise = Normalise(data.mean, data.std).to(self.device)
        self.views = cfg.recipe.test_views if data.mirror else ""
        self.side = cfg.recipe.test_res if self.views in MULTI_CROP else 0

    def pixels(self, images: Tensor) -> Tensor:
        """The network's input of images (B, C, H, W) uint8, float32."""
        return self.normalise(images.to(self.device)).contiguous(memory_format=self.memory_format)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, K) float32."""
        pixels = self.pixels(images)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            return average_views(self.views, self.network, pixels, self.side).float()

    def seen(self, image: Tensor, classes: Sequence[int]) -> tuple[list[Image.Image], str]:
        """Pictures of what in an image (C, H, W) uint8 speaks for some classes, and the name of the layer whose maps
        they show. Raises UserError: it has no maps."""
        pixels = self.pixels(image[None]).expand(len(classes), -1, -1, -1)
        maps, layer = class_activation_maps(self.network, pixels, torch.tensor(classes, device=self.device))
        return [overlaid(image.permute(1, 2, 0).numpy(), heat) for heat in maps.cpu().numpy()], layer


class Asking:
    """Asks the network of a config about the image files that it names.

    Raises:
        DataError: there are no such files.
        UserError, ArchitectureError: see assemble.network.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.trained, self.top = Trained(cfg), cfg.top
        self.names = [printable(name) for name in assemble.class_names(cfg)]
        data, photographs = cfg.datamodule, cfg.datamodule.resolution is None
        self.files = ImageFiles(
            find_images([cfg.images] if isinstance(cfg.images, str) else cfg.images),
            self.names,
            channels=data.channels,
            rotate=data.get("exif_rotation", True),
            view=EvalCrop(assemble.recipe(cfg), exact=data.get("exact_evaluation", True)) if photographs else None,
            resolution=eval_size(cfg),
            show=data.get("show", "resize"),
        )
        self.batch = assemble.evaluation_batch(cfg, self.trained.device)

    def __iter__(self) -> Iterator[tuple[Tensor, Answer]]:
        """Each image, (C, H, W) uint8 on the CPU, and what the network says. Raises UserError: none can be read."""
        count = 0
        for batch in self.files.loader(self.batch, self.trained.device, _report):
            if len(batch.images):
                logits = self.trained.logits(batch.images).cpu().numpy()
                images = [self.files.index.name(number) for number in batch.sample_keys[:, 1].tolist()]
                count += len(images)
                yield from zip(
                    batch.images.cpu(), answers(images, batch.labels.tolist(), logits, self.top), strict=True
                )
        if not count:
            raise UserError("None of the images could be read.")


def _report(faults: Iterable[Fault]) -> None:
    for fault in faults:
        print(f"{fault.name} cannot be read as an image ({fault.reason}).", file=sys.stderr)

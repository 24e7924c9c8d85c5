"""A trained network and the image files that it is asked about, without Lightning, whose import takes seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from lineage import assemble
from lineage.config.derived import eval_size
from lineage.datamodules.discovery.scanning import printable
from lineage.datamodules.images import Fault
from lineage.datamodules.sets.image_files import ImageFiles, find_images
from lineage.recipes.augment.device import Normalise
from lineage.recipes.augment.host import EvalCrop
from lineage.recipes.inference import MULTI_CROP, Inference
from lineage.running.precision import choose_precision, first_device


class Asked(NamedTuple):
    """Images of one batch: their numbers among the files, labels (-1: unknown), pixels (n, C, H, W) uint8 and logits
    (n, K) float32, on the CPU."""

    numbers: list[int]
    labels: list[int]
    images: Tensor
    logits: Tensor


class Asking:
    """Asks the network of a config about the images that it names.

    Raises:
        DataError: there are no such images.
        UserError, ArchitectureError: see assemble.network.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.network = assemble.network(cfg, weights=True, new_head=False)
        self.names = [printable(name) for name in assemble.class_names(cfg)]
        self.inference, self.files = _inference(cfg, self.network), _image_files(cfg, self.names)
        self.device = first_device(cfg.trainer.accelerator)
        self.batch = assemble.evaluation_batch(cfg, self.device)

    def __iter__(self) -> Iterator[Asked]:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        for batch in self.files.loader(self.batch, self.device, workers, _report):
            if len(batch.images):
                with torch.no_grad():
                    logits = self.inference(batch.images).cpu()
                yield Asked(batch.sample_keys[:, 1].tolist(), batch.labels.tolist(), batch.images.cpu(), logits)


def _report(faults: Iterable[Fault]) -> None:
    for fault in faults:
        print(f"{fault.name} cannot be read as an image ({fault.reason}).", file=sys.stderr)


def _inference(cfg: DictConfig, network: nn.Module) -> Inference:
    """The network on this machine's first device, with the precision and views of an evaluation."""
    from lineage.anatomy.cost import count_macs

    machine, data = cfg.trainer, cfg.datamodule
    precision = machine.precision
    if precision == "auto":
        macs = count_macs(network, data.channels, eval_size(cfg))
        precision = choose_precision(machine.accelerator, machine.mixed_precision, macs)
    if machine.channels_last:
        network.to(memory_format=torch.channels_last)
    device, views = first_device(machine.accelerator), cfg.recipe.test_views if data.mirror else ""
    return Inference(
        network.to(device).eval().requires_grad_(False),
        Normalise(data.mean, data.std).to(device),
        views=views,
        side=cfg.recipe.test_res if views in MULTI_CROP else 0,
        channels_last=machine.channels_last,
        autocast={"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision),
    )


def _image_files(cfg: DictConfig, names: list[str]) -> ImageFiles:
    data, photographs = cfg.datamodule, cfg.datamodule.resolution is None
    return ImageFiles(
        find_images([cfg.images] if isinstance(cfg.images, str) else cfg.images),
        names,
        channels=data.channels,
        rotate=data.get("exif_rotation", True),
        view=EvalCrop(assemble.recipe(cfg), exact=data.get("exact_evaluation", True)) if photographs else None,
        resolution=eval_size(cfg),
        show=data.get("show", "resize"),
    )

"""What a run's network and data add to its page: a drawing, images, and the places that speak for a class."""

import os
from typing import Any

import numpy
import torch
from omegaconf import DictConfig, open_dict

from lineage import assemble
from lineage.analysis.pages.run import Extras
from lineage.analysis.pages.run_files import RunFiles
from lineage.anatomy.drawing.svg import draw
from lineage.anatomy.table import dissect
from lineage.asking.trained import Trained
from lineage.config.derived import eval_size
from lineage.config.saved_run import with_run
from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.errors import DataError
from lineage.errors import UserError
from lineage.recipes.augment.host import EvalCrop
from lineage.reporting.training_images import evaluation_images, pairs
from lineage.running.evaluations import paths

STEP = 8  # images of the first step that a page shows


def show(extras: Extras, cfg: DictConfig, files: RunFiles) -> None:
    """Fill in what the run's weights and data allow, and say what is missing."""
    try:
        with open_dict(cfg):
            cfg.checkpoint = "best" if files.results["test_weights"] == "best" else "last"
        cfg = with_run(cfg)
        cfg.seed = extras.config["seed"]
        network: Any = assemble.network(cfg, device="meta")
        extras.anatomy = dissect(network, cfg.datamodule.channels, eval_size(cfg))
        extras.drawing = draw(extras.anatomy, str(files.results["arch"] or files.name)).svg()
        data = assemble.data(cfg)
        splits = {"training": data.train, "validation": data.val, "test": data.test}
        for name, images in splits.items():
            if name != "validation" or images is not data.test:
                extras.counts[name] = torch.bincount(images.labels.cpu(), minlength=data.num_classes).tolist()
        if files.records:
            _show_images(extras, cfg, files, data)
        data.trainer = trainer = assemble.trainer(cfg, network)
        with torch.no_grad():
            extras.pairs = pairs(data, assemble.classifier(cfg, network, data, trainer), STEP, 0, 0)
    except UserError as error:
        extras.missing.append(f"Some pictures are missing. {error}")


def _show_images(extras: Extras, cfg: DictConfig, files: RunFiles, data: ImageDataModule) -> None:
    """Images of the first record, if they are those that were evaluated."""
    record = files.records[0]
    images, index = getattr(data, record.split, data.test), record.columns["index"]
    known = index.max() < len(images) and images.labels.cpu()[index].tolist() == record.label.tolist()
    if not known or [os.fsencode(name) for name in paths(images, data.root, index)] != record.columns["path"].tolist():
        raise UserError("The images have changed since the evaluation; evaluate.py writes it again.")
    view = None if images.one_size else EvalCrop(assemble.recipe(cfg), exact=getattr(data, "exact_evaluation", True))
    data.connect_evaluation(1, view)
    trained = Trained(cfg)

    def image(index: int) -> numpy.ndarray:
        try:
            return evaluation_images(data, torch.tensor([index]), images)[0]
        except DataError as error:
            extras.missing.append(str(error).split("\n")[0])
            return numpy.zeros((eval_size(cfg), eval_size(cfg), data.channels), numpy.uint8)

    def cams(index: int, classes: list[int]) -> list[numpy.ndarray]:
        seen, _ = trained.seen(torch.from_numpy(image(index)).permute(2, 0, 1), classes)
        return [numpy.asarray(one) for one in seen]

    extras.image = image
    cams(int(index[0]), [0])  # raises UserError: it has no maps
    extras.cams = cams

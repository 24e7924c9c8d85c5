"""What a run's network and data add to its page: a drawing, images, and the places that speak for a class."""

import os
from typing import Any

from omegaconf import DictConfig, open_dict

from lineage.analysis.pages.run import Extras
from lineage.analysis.pages.run_files import RunFiles
from lineage.config.completion import with_run
from lineage.config.derived import eval_size
from lineage.errors import UserError
from lineage.running.process import loading

with loading():
    import numpy
    import torch

    from lineage import assemble
    from lineage.analysis.explanation_sheet import overlaid
    from lineage.anatomy.cam import class_activation_maps
    from lineage.anatomy.cost import SkipInitialisation
    from lineage.anatomy.drawing.svg import draw
    from lineage.anatomy.table import dissect
    from lineage.datamodules.errors import DataError
    from lineage.recipes.augment.device import Normalise
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
        data = _show_network(extras, cfg, files)
        _show_images(extras, cfg, files, data)
        _show_step(extras, cfg, data)
    except UserError as error:
        extras.missing.append(f"Some pictures are missing. {error}")


def _show_network(extras: Extras, cfg: DictConfig, files: RunFiles) -> Any:
    """Draw the network; returns the data."""
    with SkipInitialisation():
        network: Any = assemble.network(cfg, device="meta")
    extras.anatomy = dissect(network, cfg.datamodule.channels, eval_size(cfg))
    extras.drawing = draw(extras.anatomy, str(files.results["arch"] or files.name)).svg()
    data = assemble.data(cfg)
    splits = {"training": data.train, "validation": data.val, "test": data.test}
    if data.val is data.test:
        del splits["validation"]
    counts = {name: torch.bincount(images.labels.cpu(), minlength=data.num_classes) for name, images in splits.items()}
    extras.counts = {name: count.tolist() for name, count in counts.items()}
    return data


def _show_images(extras: Extras, cfg: DictConfig, files: RunFiles, data: Any) -> None:
    """Images of the first record, if they are those that were evaluated."""
    if not files.records:
        return
    record = files.records[0]
    images = getattr(data, record.split, data.test)
    index = record.columns["index"]
    known = index.max() < len(images) and images.labels.cpu()[index].tolist() == record.label.tolist()
    if not known or [os.fsencode(name) for name in paths(images, data.root, index)] != record.columns["path"].tolist():
        raise UserError("The images have changed since the evaluation; evaluate.py writes it again.")
    view = None if images.one_size else EvalCrop(assemble.recipe(cfg), exact=getattr(data, "exact_evaluation", True))
    data.connect_evaluation(1, view)
    network: Any = assemble.network(cfg, weights=True, new_head=False).eval()
    normalise = Normalise(data.mean, data.std)

    def image(index: int) -> numpy.ndarray:
        try:
            return evaluation_images(data, torch.tensor([index]), images)[0]
        except DataError as error:
            extras.missing.append(str(error).split("\n")[0])
            return numpy.zeros((eval_size(cfg), eval_size(cfg), data.channels), numpy.uint8)

    def cam(index: int, one: int) -> numpy.ndarray:
        shown = image(index)
        pixels = normalise(torch.from_numpy(shown).permute(2, 0, 1)[None])
        maps, _ = class_activation_maps(network, pixels, torch.tensor([one]))
        return numpy.asarray(overlaid(numpy.broadcast_to(shown[..., :3], (*shown.shape[:2], 3)), maps[0].numpy()))

    extras.image = image
    cam(int(index[0]), 0)  # raises UserError: it has no maps
    extras.cam = cam


def _show_step(extras: Extras, cfg: DictConfig, data: Any) -> None:
    """The first images of the first step."""
    with SkipInitialisation():
        network = assemble.network(cfg, device="meta")
    data.trainer = trainer = assemble.trainer(cfg, network)
    with torch.no_grad():
        extras.pairs = pairs(data, assemble.classifier(cfg, network, data, trainer), STEP, 0, 0)

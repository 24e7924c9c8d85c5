"""The picture that lineage preview makes has the pixels of training, bit for bit, for any data and recipe."""

import numpy
import pytest
import torch
from doors import finished
from PIL import Image
from runs.pictures import write_folders
from short import assembled, shortened

from lineage.analysis import contact_sheet
from lineage.errors import UserError
from lineage.reporting import dataset_summary
from lineage.reporting.training_images import Pair, pairs

SMALL = ["arch=resnet18", "arch.widths=[8,8,16,16]", "trainer=cpu"]


def parts(*words: str):
    classifier, data, trainer = assembled(*SMALL, *words)
    data.trainer = trainer
    return classifier, data, trainer


def steps_of_a_run(classifier, data, trainer) -> list[torch.Tensor]:
    """The inputs of the network in the steps of an epoch, as uint8 (n, H, W, C), in the order of a step's images."""
    inputs: list[torch.Tensor] = []
    classifier.network.register_forward_pre_hook(lambda _, given: inputs.append(given[0].detach().clone()))
    trainer.fit(classifier, datamodule=data)
    normalise, chunks = classifier.augment.normalise, data.split.chunks
    levels = [((images * normalise.std + normalise.mean).clamp(0, 1) * 255).round() for images in inputs]
    together = [torch.stack(levels[i : i + chunks], dim=1).flatten(0, 1) for i in range(0, len(levels), chunks)]
    return [step.permute(0, 2, 3, 1).to(torch.uint8) for step in together]


@pytest.mark.parametrize("recipe", ["rsb_a1", "sgd_step"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_preview_shows_what_training_uses(recipe):
    """With repeated augmentation, which shows all micro-batches, and without, which shows the first."""
    words = [*shortened(recipe, batch_size=12), "trainer.max_per_device=6", "datamodule.workers=1"]
    classifier, data, trainer = parts(*words, "trainer.limit_train_batches=3", "trainer.limit_val_batches=0")
    trainer.fit_loop.max_epochs = 1
    with torch.no_grad():
        steps = [pairs(data, classifier, 4, 0, step) for step in range(3)]
    labels = [[pair.label for pair in step] for step in steps]
    apart = 1 if classifier.recipe.repeated_aug else data.split.chunks  # else of the first micro-batch
    for step, images in zip(steps, steps_of_a_run(classifier, data, trainer), strict=True):
        for pair, image in zip(step, images[::apart], strict=False):
            assert numpy.array_equal(pair.training[:, :, 0], image[:, :, 0].numpy())
    if recipe == "rsb_a1":
        first = steps[0]
        assert all(numpy.array_equal(pair.evaluation, first[0].evaluation) for pair in first[:3])
        assert not numpy.array_equal(first[0].training, first[1].training)
        mixed = [label for step in labels for label in step if len(label) == 2]
        assert mixed and all(sum(share for _, share in label) == pytest.approx(1) for label in mixed)
    else:
        samples = data.order.epoch(0)[: 4 * data.split.chunks : data.split.chunks, 1]
        assert [label[0][0] for label in labels[0]] == [str(label) for label in data.train.labels[samples].tolist()]
        assert numpy.array_equal(steps[0][0].evaluation[:, :, 0], data.train[samples[:1]][0, 0].numpy())
    with pytest.raises(UserError, match="step=104: the epoch has 3, counted from 0"):
        pairs(data, classifier, 4, 0, 104)
    with pytest.raises(UserError, match="epoch=2"):
        pairs(data, classifier, 4, 2, 0)


def test_command(tmp_path):
    write_folders(tmp_path / "data", count=12)
    words = ["datamodule=imagefolder", f"datamodule.root={tmp_path}/data", "datamodule.workers=1", "images=5"]
    out = finished(tmp_path, "preview", *SMALL, *shortened("deit"), *words).stdout
    for text in ("24 train, 24 validation", "50x40 to 56x46", "the config says", "erasing_prob=0.25", "ant", "bee"):
        assert text in out, text
    with Image.open(tmp_path / "previews" / "imagefolder-deit.png") as picture:
        assert picture.size[0] > 4 * 2 * contact_sheet.CELL and len(picture.convert("RGB").getcolors(10**6) or ()) > 50
    assert {path.name for path in tmp_path.iterdir()} == {"data", "previews"}


def test_sizes_and_names(tmp_path):
    """A pixel of a small image becomes a square, a large image is reduced, and names of any length and script fit."""
    small = numpy.zeros((8, 8, 3), numpy.uint8)
    small[2, 3] = (255, 0, 0)
    assert numpy.asarray(contact_sheet.fitted(small))[2 * 28 : 3 * 28, 3 * 28 : 4 * 28, 0].min() == 255
    assert contact_sheet.fitted(numpy.zeros((600, 300, 3), numpy.uint8)).size == (112, 224)
    names = [("Bäume \N{CJK UNIFIED IDEOGRAPH-6728}", 0.001), ("of so many words " * 9, 0.999)]
    file = tmp_path / "folder" / "picture.png"
    cells = Pair(small, small, names).cells()
    sheet = contact_sheet.sheet([cells], "title " * 30, "crop=none " * 30, ("test", "training"))
    contact_sheet.write(sheet, file)
    with Image.open(file) as picture:
        assert picture.size[0] == 2 * contact_sheet.MARGIN + 2 * contact_sheet.CELL + contact_sheet.WITHIN


def test_summary():
    classifier, data, _ = parts("datamodule.num_classes=21", "recipe.hflip=0.5")
    assert dataset_summary.augmentation(classifier.recipe) == (
        "crop=pad crop_padding=2 crop_padding_mode=zero interpolation=bilinear"  # digits have no mirror
    )
    head, rows = dataset_summary.class_table(data)
    assert head == ["train", "validation", "test", "class"] and len(rows) == 2 * dataset_summary.ENDS + 1
    assert rows[dataset_summary.ENDS] == ["...", "...", "...", "11 more"] and rows[-1][0] == "0"
    statistics = dataset_summary.statistics(data)
    assert statistics["size"] == "32x32" and statistics["mean"].endswith("the config says 0.3047")

"""Folders of images: names of splits, inferred values, ImageNet in each of its layouts."""

import os
from pathlib import Path
from typing import Any

import data_sets
import numpy
import pytest
import torch
from data_sets import sizes
from doors import ROOT, error_message
from hydra.utils import get_class
from omegaconf import OmegaConf
from PIL import Image
from scipy.io import savemat

from lineage.datamodules.discovery import statistics
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import TensorImages

FIRST = ["n01440764", "n01443537", "n01484850"]  # tench, goldfish, great white shark


def draw(root: Path, *names: str, size: tuple[int, int] | None = None, level: int = 0) -> Path:
    """Grey pictures of several sizes, or of one `size` (width, height), in folders that were changed long ago."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size or (20 + i, 30), level + i).save(root / name)
    for folder, _, _ in os.walk(root):
        os.utime(folder, (1e9, 1e9))
    return root


def loaded(kind: str, root: Path, *words: str) -> Any:
    return data_sets.loaded(kind, f"root={root}", *words)


def classes(count: int, *names: str, ending: str = "png") -> list[str]:
    return [f"{name}/{i}.{ending}" for name in names for i in range(count)]


# ---- imagefolder


@pytest.mark.parametrize(
    ("splits", "words", "expected", "one_set"),
    [
        ({"": 10}, "", [18, 2, 2], True),
        ({"": 10}, "val_size=5", [15, 5, 5], True),
        ({"train": 10}, "", [18, 2, 2], True),
        ({"Training": 4, "valid": 3}, "", [8, 6, 6], True),
        ({"train": 10, "testing": 3}, "", [18, 2, 6], False),
        ({"TRAIN": 4, "dev": 3, "Test": 2}, "", [8, 6, 4], False),
        ({"train": 4, "val": 3, "test": 2}, "val_size=0", [8, 4, 4], False),
        ({"train": 4, "validation": 3}, "val_size=0", [8, 6, 6], False),
        ({"train": 4, "val": 3}, "val_size=2", [6, 2, 6], False),
        ({"train": 4, "val": 3, "annotations": 0}, "", [8, 6, 6], True),
    ],
)
def test_usual_names_of_splits(tmp_path, splits, words, expected, one_set):
    for split, count in splits.items():
        (tmp_path / "data" / split).mkdir(parents=True, exist_ok=True)
        draw(tmp_path / "data" / split, *classes(count, "ant", "bee"))
    datamodule = loaded("imagefolder", tmp_path / "data", *words.split())
    assert sizes(datamodule) == expected and datamodule.class_names() == ["ant", "bee"]
    assert any("the test set is the validation set" in note for note in datamodule.notes) == one_set
    assert datamodule.test is datamodule.val or not one_set
    if datamodule.val.samples is not None and datamodule.train.samples is not None:
        assert not {*datamodule.train.samples.tolist()} & {*datamodule.val.samples.tolist()}


SPLITS_OF_PEOPLE = {  # A: of two classes; B: of one; /: images in no class folder; sizes and a note
    "training_set/A test_set/A": ([9, 1, 10], "train is training_set, test is test_set"),
    "seg_train/seg_train/A seg_test/seg_test/A seg_pred/seg_pred/": ([9, 1, 10], "not read: seg_pred"),
    "train2017/A val2017/A": ([10, 10, 10], "train is train2017, val is val2017"),
    "Train_png/A Test_png/A": ([9, 1, 10], "train is Train_png, test is Test_png"),
    "TrainSet/A validation-images/A my-test-images/A": ([10, 10, 10], "val is validation-images, test is my-test"),
    "trainset/A devset/B": ([10, 5, 5], "val is devset"),
    "train/train/A test/test/A": ([9, 1, 10], "train is train/train, test is test/test"),
    "train/A train_aug/A test/A": ([9, 1, 10], "not read: train_aug"),
    "MNIST_TRAIN/A MNIST_TEST/": ([9, 1, 1], "train is MNIST_TRAIN"),
    "train/A test/": ([9, 1, 1], "ROOT/test is not read: its images have no class"),
    "train/A val/A test/test/": ([10, 10, 10], "ROOT/test/test is not read"),
    "train/A val/A test/unlabeled/": ([10, 10, 10], "ROOT/test is not read"),
    "train/A val/A $RECYCLE.BIN/ lost+found/": ([10, 10, 10], "ROOT has no labelled test images"),
}


@pytest.mark.parametrize("places", SPLITS_OF_PEOPLE)
def test_splits_that_people_name_themselves(tmp_path, places):
    for place in places.split():
        draw(tmp_path / "data" / place[:-1], *classes(5, *{"A": ["ant", "bee"], "B": ["bee"], "/": ["."]}[place[-1]]))
    datamodule = loaded("imagefolder", tmp_path / "data")
    expected, note = SPLITS_OF_PEOPLE[places]
    assert datamodule.class_names() == ["ant", "bee"] and sizes(datamodule) == expected
    assert any(note.replace("ROOT", f"{tmp_path}/data") in found for found in datamodule.notes), datamodule.notes


@pytest.mark.parametrize(
    ("places", "hint"),
    [
        ("fold1 fold2 fold3", "fold1, fold2, fold3"),
        ("a b", "train_folder=a datamodule.test_folder=b. Classes: datamodule.train_folder=."),
        ("a b notes", "holds a, b, each with folders such as ant, bee"),
        ("trainA trainB testA", "holds trainA, trainB: which of them is train"),
        ("test_a val_a", "holds no training images"),
        ("train_a fold2", "are they splits or classes"),
    ],
)
def test_folders_that_may_be_splits_or_classes_are_asked_about(tmp_path, places, hint):
    first, second, *_ = places.split()
    for place in places.split():
        draw(tmp_path / "data" / place, *(classes(3, "ant", "bee") if place != "notes" else classes(1, ".")))
    with pytest.raises(DataError) as raised:
        loaded("imagefolder", tmp_path / "data")
    assert hint in str(raised.value) and str(raised.value).count("\n") <= 1
    splits = loaded(
        "imagefolder", tmp_path / "data", f"train_folder={first}", f"test_folder={second}", "val_folder=null"
    )
    assert splits.class_names() == ["ant", "bee"] and len(splits.test) == 6
    whole = loaded("imagefolder", tmp_path / "data", "train_folder=.")
    assert whole.class_names() == sorted(places.split()) and "not read" not in " ".join(whole.notes)


@pytest.mark.parametrize(
    "names",
    [
        ["cats/2019/1.png", "cats/2020/1.png", "cats/2.png", "dogs/1.png", "dogs/2.png", "emus/1.png"],
        ["bullet_train/1.png", "steam_train/1.png", "bus/1.png", "test_tube/1.png"],
        ["n01/images/1.png", "n01/images/2.png", "n02/images/1.png", "n02/images/2.png"],
        ["bus/1.png", "car/1.png", "train/1.png"],
    ],
)
def test_what_people_mean_as_classes_stays_classes(tmp_path, names):
    datamodule = loaded(
        "imagefolder", draw(tmp_path / "data", *names, *(name.replace(".png", "_.png") for name in names))
    )
    assert datamodule.class_names() == sorted({name.split("/")[0] for name in names})


ANSWERS = {  # a table, and the words that name its columns
    "id,breed\n0,ant\n1,bee\n2,ant\n3,bee\n": "",
    "Image;Target;day\ntrain/0.png;ant;1\n./1.png;bee;1\n2.png;ant;2\n3;bee;3\ngone.png;bee;3\n": "",
    "day\tphoto\twhat\n1\t0.png\tant\n1\t1.png\tbee\n1\t2.png\tant\n1\t3.png\tbee\n": "label_columns=[photo,what]",
}


@pytest.mark.parametrize("table", ANSWERS)
def test_classes_in_a_table(tmp_path, table):
    draw(tmp_path / "data", *(f"train/{i}.png" for i in range(5)), *(f"test/{i}.png" for i in range(10, 13)))
    (tmp_path / "data" / "answers.csv").write_text(table)
    words = ["labels=answers.csv", "val_size=2", *ANSWERS[table].split()]
    datamodule = loaded("imagefolder", tmp_path / "data", *words)
    assert datamodule.class_names() == ["ant", "bee"] and sizes(datamodule) == [2, 2, 2]
    assert datamodule.splits()["train"].labels.tolist() == [0, 1, 0, 1]
    notes = " ".join(datamodule.notes)
    assert "1 images of" in notes and "test is not read: its images have no class" in notes
    for wrong, message in (("labels=none.csv", "none.csv"), ("label_columns=[photo,other]", "its columns are")):
        with pytest.raises(DataError, match=message):
            loaded("imagefolder", tmp_path / "data", *words, wrong)


def test_classes_in_the_names_of_files(tmp_path):
    names = ["cat.0.png", "cat.1.png", "great dog_12.png", "great dog (3).png"]
    draw(tmp_path / "data", *(f"train/{name}" for name in names), "test1/1.png", "test1/2.png")
    datamodule = loaded("imagefolder", tmp_path / "data")
    assert datamodule.class_names() == ["cat", "great dog"]
    assert datamodule.splits()["train"].labels.tolist() == [0, 0, 1, 1]
    assert loaded("imagefolder", tmp_path / "data" / "train").class_names() == ["cat", "great dog"]
    draw(tmp_path / "other", "a_1.png", "a_2.png", "b.png")
    with pytest.raises(DataError, match="holds 3 images beside its class folders"):
        loaded("imagefolder", tmp_path / "other")


def test_folds_are_disjoint_and_stratified(tmp_path):
    draw(tmp_path / "data", *classes(9, "ant"), *classes(4, "bee"))
    folds = [loaded("imagefolder", tmp_path / "data", "folds=3", f"fold={fold}") for fold in range(3)]
    held = [fold.val.samples.tolist() for fold in folds]
    assert sorted(sum(held, [])) == list(range(13)) and sorted(map(len, held)) == [4, 4, 5]
    for fold in folds:
        assert numpy.bincount(fold.val.labels).tolist() in ([3, 1], [3, 2]) and fold.test is fold.val
        assert (
            not {*fold.train.samples.tolist()} & {*fold.val.samples.tolist()} and len(fold.train) + len(fold.val) == 13
        )
    again = evaluated(tmp_path / "data", ["ant", "bee"], folds[1].digest, folds=3, fold=1)
    assert again.test.samples.tolist() == held[1]
    with pytest.raises(DataError, match="all images of 1 classes"):
        loaded("imagefolder", draw(tmp_path / "one", *classes(1, "ant"), *classes(5, "bee")), "folds=2", "fold=0")


def test_other_endings_and_folders_of_systems(tmp_path):
    draw(tmp_path / "a", *classes(2, "ant", ending="jpe"), *classes(3, "bee", ending="JFIF"))
    for folder in ("System Volume Information", "thumbs"):
        (tmp_path / "a" / folder).mkdir()
    assert loaded("imagefolder", tmp_path / "a").class_names() == ["ant", "bee"]
    draw(tmp_path / "b", *classes(2, "ant", "bee"))
    for name in ("cat/1.heic", "cat/2.HEIC", "cat/notes.txt", "dog/1.npy", "emu/"):
        (tmp_path / "b" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "b" / name).touch() if name[-1] != "/" else (tmp_path / "b" / name).mkdir()
    with pytest.raises(DataError, match=r"without an image: cat \(2 .heic, 1 .txt\), dog \(1 .npy\), emu\."):
        loaded("imagefolder", tmp_path / "b")


# ---- other images for an evaluation


def evaluated(root: Path, learned: list[str], trained_on: str | None = None, **options: Any) -> Any:
    """The data of an evaluation of a run whose images were measured."""
    node: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "datamodule" / "imagefolder.yaml"))
    node |= {"root": str(root), "num_classes": len(learned), "channels": 1, "mean": [0.5], "std": [0.2], **options}
    datamodule = get_class(node.pop("_target_"))(**node)
    datamodule.learned, datamodule.trained_on = learned, trained_on
    datamodule.load()
    return datamodule


@pytest.mark.parametrize("splits", ["/", "test", "val", "train", "train test", "train val", "eval_2"])
def test_an_evaluation_tests_all_images_and_classes_by_name(tmp_path, splits):
    for split in splits.split():
        draw(tmp_path / "data" / split.strip("/"), *classes(4, "bee", "dog"))
    for val_size in (None, 3, 500):
        datamodule = evaluated(tmp_path / "data", ["ant", "bee", "cat", "dog"], val_size=val_size)
        assert datamodule.test.labels.tolist() == [1] * 4 + [3] * 4
        assert datamodule.class_names() == ["ant", "bee", "cat", "dog"]
        assert any("lacks 2 of the 4 classes: ant, cat" in note for note in datamodule.notes)
        whole = any("all images are tested" in note for note in datamodule.notes)
        assert whole == (splits in ("/", "train"))


def test_classes_that_the_weights_do_not_know(tmp_path):
    draw(tmp_path / "data", *classes(4, "bee", "emu"))
    datamodule = evaluated(tmp_path / "data", ["ant", "bee"])
    assert datamodule.test.labels.tolist() == [1] * 4
    assert any("4 images are left out: the weights do not know emu" in note for note in datamodule.notes)
    with pytest.raises(DataError, match="has the classes bee, emu, and the weights know ant, cat, dog"):
        evaluated(tmp_path / "data", ["ant", "cat", "dog"])
    other = evaluated(tmp_path / "data", ["Biene", "Emu"])  # reporting.notes.class_notes says what this means
    assert len(other.test) == 8 and other.class_names() == ["bee", "emu"]


def test_an_evaluation_of_the_images_of_the_training_tests_those_that_were_held_out(tmp_path):
    trained = loaded("imagefolder", draw(tmp_path / "data", *classes(10, "ant", "bee")))
    (tmp_path / "data").rename(tmp_path / "moved")
    again = evaluated(tmp_path / "moved", ["ant", "bee"], trained.digest, val_size=trained.val_size)
    assert torch.equal(again.test.samples, trained.test.samples) and len(again.test) == 2


@pytest.mark.parametrize(
    ("names", "words", "message"),
    [
        (["val/ant/1.png", "test/ant/1.png"], "", "holds no training images: it has val, test|it has test, val"),
        (["train/ant/1.png", "val/ant/1.png", "dev/ant/1.png"], "", "holds dev, val: which of them is val"),
        (["train/1.png", "val/1.png"], "", "train holds 1 images beside its class folders"),
        (["pets/ant/1.png", "pets/bee/1.png"], "", r"one class folder only, pets. Is it .*root=.*/data/pets\?"),
        (["train/ant/1.png", "train/bee/list.txt"], "", "class folders without an image: bee"),
        (["train/a/1.png", "train/b/1.png", "val/a/list.txt"], "", "val has class folders without an image"),
        (["train/a/1.png", "train/b/1.png", "val/c/1.png", "val/d/1.png"], "", "val has classes .* lacks: c, d"),
        (["ant/1.png", "bee/1.png"], "val_size=0", "no validation or test images"),
        (["ant/1.png", "bee/1.png"], "val_size=1", "of 2 training images in 2 classes at most 0 can"),
        (["ant/1.png", "bee/1.png"], "num_classes=3", "has 2 classes, and datamodule.num_classes=3"),
        (["ant/1.png", "bee/1.png"], "resolution=40", "sizes from 20x30 to 21x30"),
    ],
)
def test_folders_that_do_not_fit_together(tmp_path, names, words, message):
    for name in names:
        if name.endswith(".txt"):
            (tmp_path / "data" / name).parent.mkdir(parents=True)
            (tmp_path / "data" / name).touch()
    draw(tmp_path / "data", *(name for name in names if name.endswith(".png")))
    with pytest.raises(DataError, match=message):
        loaded("imagefolder", tmp_path / "data", *words.split())


def test_unequal_classes_are_noted_and_labels_follow_the_training_folder(tmp_path):
    draw(tmp_path / "data" / "train", *classes(1, "ant"), *classes(2, "bee"), *classes(12, "cat"))
    draw(tmp_path / "data" / "val", *classes(2, "bee"), *classes(1, "cat"))
    datamodule = loaded("imagefolder", tmp_path / "data")
    assert datamodule.val.labels.tolist() == [1, 1, 2]
    summary, unequal, lacks, _ = datamodule.notes
    assert summary.startswith(
        "imagefolder: 3 classes (ant, bee, cat), 18 images of 20x30 to 34x30 (median 27x30), grey; mean 0.03, "
    )
    assert (
        unequal == "careful: the classes are unequal: 12 of cat, 1 of ant"
        and lacks == f"careful: {tmp_path}/data/val lacks 1 of the 3 classes: ant"
    )


def test_given_values_replace_inferred_ones(tmp_path):
    draw(tmp_path / "data", *classes(4, "ant", "bee"), level=51)
    data = loaded("imagefolder", tmp_path / "data")
    assert (data.num_classes, data.channels, data.resolution, data.val_size) == (2, 1, None, 1)
    assert data.mean == [pytest.approx((51 + 3.5) / 255, abs=1e-4)]
    assert len(loaded("imagefolder", tmp_path / "data", "channels=3").mean) == 3
    given = loaded("imagefolder", tmp_path / "data", "mean=[0.5]", "num_classes=2")
    assert given.mean == [0.5] and given.std == data.std


# ---- squares of one size


def test_squares_of_one_size_are_a_data_set_in_memory(tmp_path):
    root = draw(tmp_path / "data", *classes(10, "a", "b"), size=(40, 40))
    datamodule = loaded("imagefolder", root)
    assert isinstance(datamodule.train, TensorImages) and datamodule.resolution == 40
    assert datamodule.train[torch.arange(18)].shape == (18, 1, 40, 40)
    assert set(datamodule.train[torch.arange(18)].flatten().tolist()) <= set(range(20))

    assert loaded("imagefolder", root, "resolution=60").val[torch.arange(2)].shape == (2, 1, 60, 60)

    # A file of the same name does not change the folder's time.
    Image.new("L", (40, 40), 200).save(root / "a" / "0.png")
    new = loaded("imagefolder", root)
    assert 200 in torch.cat([images[torch.arange(len(images))] for images in (new.train, new.val)])
    assert new.mean[0] > datamodule.mean[0]  # measured again
    (root / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="a/1.png cannot be read as an image"):
        loaded("imagefolder", root)


def test_an_image_of_another_size_beyond_the_sample_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLE", 4)
    root = draw(tmp_path / "data", *classes(10, "a", "b"), size=(40, 40))
    assert loaded("imagefolder", root).resolution == 40
    Image.new("L", (48, 48), 200).save(root / "a" / "4.png")
    assert loaded("imagefolder", root).resolution is None
    with pytest.raises(DataError, match="a/4.png is 48x48 and others are 40x40.\n.*run the same command without it"):
        loaded("imagefolder", root, "resolution=40")


def test_small_squares_are_enlarged_to_32_pixels_and_oblong_images_shown_in_a_square(tmp_path):
    datamodule = loaded("imagefolder", draw(tmp_path / "data", *classes(4, "a", "b"), size=(28, 28)))
    assert datamodule.resolution == 32 and "of 28x28, shown at 32x32, grey" in datamodule.notes[0]
    padded = loaded("imagefolder", tmp_path / "data", "show=pad", "mean=[0]")
    assert padded.train[torch.arange(7)][:, :, :2].sum() == 0
    draw(tmp_path / "oblong", *classes(4, "a", "b"), size=(48, 32))
    for show in ("resize", "pad"):
        square = loaded("imagefolder", tmp_path / "oblong", "resolution=48", f"show={show}")
        assert square.train[torch.arange(7)].shape == (7, 1, 48, 48)


@pytest.mark.parametrize(("kind", "words"), [("imagefolder", ""), ("imagenet", "num_classes=2")])
@pytest.mark.parametrize(("place", "renamed"), [("a", "c"), ("a/0.png", "a/9.png")])
def test_a_resumed_run_needs_the_same_images_and_classes(tmp_path, kind, words, place, renamed):
    root = draw(tmp_path / "data", *classes(4, "train/a", "train/b"), *classes(2, "val/b"))
    state = loaded(kind, root, *words.split()).state_dict()
    for known in (state, {key: value for key, value in state.items() if key != "validation"}):  # of an older version
        loaded(kind, root, *words.split()).load_state_dict(known)
    (root / "val/b/1.png").rename(root / "val/b/9.png")
    with pytest.raises(DataError, match="started with other validation images"):
        loaded(kind, root, *words.split()).load_state_dict(state)
    (root / "val/b/9.png").rename(tmp_path / "1.png")
    with pytest.raises(DataError, match="started with 2 validation images, and there are 1 now"):
        loaded(kind, root, *words.split()).load_state_dict(state)
    (tmp_path / "1.png").rename(root / "val/b/1.png")
    (root / "train" / place).rename(root / "train" / renamed)
    with pytest.raises(DataError, match="other training images or classes"):
        loaded(kind, root, *words.split()).load_state_dict(state)


def test_squares_of_one_size_that_cannot_be_read(tmp_path):
    root, skip = draw(tmp_path / "data", *classes(10, "a", "b"), size=(40, 40)), "on_error=skip"
    for name in ("a/3.png", "b/7.png"):
        (root / name).write_bytes((root / name).read_bytes()[:60])
    with pytest.raises(DataError, match="a/3.png cannot be read as an image"):
        loaded("imagefolder", root)
    with pytest.raises(DataError, match="2 images cannot be read, more than datamodule.max_errors=1"):
        loaded("imagefolder", root, skip, "max_errors=1")
    data = loaded("imagefolder", root, skip, "max_errors=2")
    assert sizes(data) == [16, 2, 2] and [name[-7:] for name in data.skipped] == ["a/3.png", "b/7.png"]
    kept = [
        (int(images[torch.tensor([i])].max()), int(images.labels[i]))
        for images in (data.train, data.val)
        for i in range(len(images))
    ]
    assert sorted(kept) == [(level, level // 10) for level in range(20) if level not in (3, 17)]


# ---- commands


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("datamodule.root=nowhere", "nowhere is not a folder. Name the one that holds the images: datamodule.root="),
        ("datamodule.root='~/data' arch.num_classes=1", "arch.num_classes=1: the data have 2."),
        ("arch.num_classes=2", "datamodule.root has no value"),
        ("datamodule.root=data arch.num_classes=null", "arch.num_classes=null: it cannot be null"),
        ("datamodule.root=data datamodule.channels=2", "it is one of 1, 3 or null"),
        ("datamodule=digits datamodule.num_classes=null", "datamodule.num_classes=null: it cannot be null"),
        ("datamodule.root=data datamodule.folds=5", "both, as 5 and 0 to 4, without datamodule.val_size"),
        ("datamodule.root=data datamodule.fold=0", "both, as 5 and 0 to 4"),
        ("datamodule.root=data datamodule.folds=5 datamodule.fold=5", "both, as 5 and 0 to 4"),
        ("datamodule.root=data datamodule.folds=5 datamodule.fold=0 datamodule.val_size=9", "without datamodule.val"),
    ],
)
def test_commands_that_are_refused(tmp_path, monkeypatch, checked, words, message):
    monkeypatch.setenv("HOME", str(tmp_path))
    draw(tmp_path / "data", *classes(1, "ant", "bee"))
    kind = () if "datamodule=" in words else ("datamodule=imagefolder",)
    assert message in error_message(checked("train", *kind, *words.split()))
    assert not (tmp_path / "runs").exists()


# ---- ImageNet


def test_imagenet_in_class_folders(tmp_path):
    draw(tmp_path / "data" / "val", *classes(2, *FIRST[1:]))
    datamodule = loaded("imagenet", tmp_path / "data")  # no training images, and not of all classes
    assert datamodule.test.labels.tolist() == [1, 1, 2, 2] and sizes(datamodule) == [0, 4, 4]
    assert datamodule.class_names()[1] == "goldfish, Carassius auratus" and len(datamodule.class_names()) == 1000
    assert datamodule.notes[-1].endswith("has no image of 998 of the 1,000 classes")
    with pytest.raises(DataError, match="no folder train"):
        datamodule.connect_training(None, None, None, 1)
    draw(tmp_path / "data" / "train", *classes(2, *FIRST))
    datamodule = loaded("imagenet", tmp_path / "data")
    assert datamodule.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(DataError, match="has 3 class folders: set datamodule.num_classes"):
        datamodule.connect_training(None, None, None, 1)
    datamodule = loaded("imagenet", tmp_path / "data", "num_classes=3", "test_folder=train")
    assert datamodule.train.labels.tolist() == datamodule.test.labels.tolist()
    assert datamodule.class_names()[0] == "tench, Tinca tinca"


def with_kit(root: Path) -> None:
    kit = root / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    kinds = [("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("words", "O")]
    savemat(kit / "meta.mat", {"synsets": numpy.array([(i + 1, w, "") for i, w in enumerate(FIRST[::-1])], kinds)})
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n3\n")


def with_table(root: Path) -> None:
    rows = [f"ILSVRC2012_val_0000000{i + 1},{FIRST[label]} 1 2 3 4 {FIRST[label]} 5 6 7 8\n" for i, label in OF_EACH]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(rows[::-1]))
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{name} some words, others\n" for name in FIRST))


def with_list(root: Path) -> None:
    (root / "labels.txt").write_text("".join(f"{FIRST[label]}\n" for _, label in OF_EACH))


def with_pairs(root: Path) -> None:
    rows = [f"val/ILSVRC2012_val_0000000{i + 1}.JPEG {FIRST[label]}\n" for i, label in OF_EACH]
    (root / "val.txt").write_text("".join(rows))


OF_EACH = [(0, 1), (1, 2), (2, 0)]  # image and class


@pytest.mark.parametrize("add_classes", [with_kit, with_table, with_list, with_pairs])
@pytest.mark.parametrize("place", ["val", "ILSVRC/Data/CLS-LOC/val"])
def test_flat_imagenet_with_a_file_of_classes(tmp_path, add_classes, place):
    files = [f"ILSVRC2012_val_0000000{i}.JPEG" for i in (1, 2, 3)]
    draw(tmp_path / "data" / place, *files)
    with pytest.raises(DataError, match="in no class folders, and no file has their classes"):
        loaded("imagenet", tmp_path / "data")
    add_classes(tmp_path / "data")
    datamodule = loaded("imagenet", tmp_path / "data")
    assert datamodule.test.labels.tolist() == [1, 2, 0]
    assert datamodule.test.blobs.name(0).endswith(files[0])
    (tmp_path / "data" / "other.txt").write_text("\n".join(FIRST))
    with pytest.raises(DataError, match="have different classes"):
        loaded("imagenet", tmp_path / "data")


def test_exif_rotates_pictures_but_not_imagenets(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for split in ("train", "val"):
        for name in FIRST[:2]:
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (30, 20)).save(tmp_path / split / name / "1.jpeg", exif=exif)
    assert loaded("imagenet", tmp_path, "num_classes=2").test.open(0).size == (20, 30)
    assert loaded("imagefolder", tmp_path).test.open(0).size == (30, 20)

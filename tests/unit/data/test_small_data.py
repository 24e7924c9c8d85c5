"""SVHN, synthetic images, and sets of the Hugging Face Hub, from small files made here."""

import pickle
import sys

import numpy
import pytest
import torch
import torchvision
from data_sets import loaded, sizes
from photographs import encoded
from PIL import Image
from scipy.io import savemat

from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.discovery.tables import load_splits
from lineage.datamodules.errors import DataError
from lineage.datamodules.loading.loader import EvaluationLoader, Stream
from lineage.datamodules.loading.order import BatchSplit, EpochOrder
from lineage.datamodules.loading.worker_pool import Job
from lineage.datamodules.sets import synthetic
from lineage.datamodules.sets.svhn import read_mat

# ---- svhn


def write_svhn(folder, **counts: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = numpy.random.default_rng(0)
    for split, count in counts.items():
        images = rng.integers(0, 256, (32, 32, 3, count), dtype=numpy.uint8)
        images[1, 2, 0, :] = numpy.arange(count)  # row 1, column 2, red
        labels = (numpy.arange(count, dtype=numpy.uint8) % 10 + 1)[:, None]
        savemat(folder / f"{split}_32x32.mat", {"X": images, "y": labels}, do_compression=True)


@pytest.mark.parametrize("folder", ["svhn", "."])
def test_svhn(tmp_path, folder):
    write_svhn(tmp_path / folder, train=30, extra=20, test=12)
    words = ("svhn", f"root={tmp_path}", "val_size=4")
    assert sizes(loaded(*words)) == [26, 4, 12]
    datamodule = loaded(*words, "extra=true", "val_size=0")
    assert sizes(datamodule) == [50, 12, 12] and datamodule.train.labels[:11].tolist() == [*range(1, 10), 0, 1]
    assert datamodule.train[torch.arange(50)][:, 0, 1, 2].tolist() == [*range(30), *range(20)]


def test_svhns_files_are_downloaded_one_by_one(tmp_path, monkeypatch):
    fetched = []

    def fetch(root, split, download):
        fetched.append(split)
        write_svhn(tmp_path / "svhn", **{split: 10})
        assert (root, download) == (str(tmp_path / "svhn"), True)

    monkeypatch.setattr(torchvision.datasets, "SVHN", fetch)
    write_svhn(tmp_path / "svhn", train=10)
    loaded("svhn", f"root={tmp_path}", "extra=true", "val_size=0")
    assert fetched == ["extra", "test"]


def test_a_damaged_mat_file_is_one_line(tmp_path):
    write_svhn(tmp_path, test=12)
    path = tmp_path / "test_32x32.mat"
    whole = path.read_bytes()
    for damaged in (whole[:-300], b"", b"<html>", whole[:300] + b"x" * 50 + whole[350:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="^[^\n]*test_32x32.mat is not a complete .mat file[^\n]*$"):
            read_mat(path)
    savemat(path, {"X": numpy.zeros((32, 32, 3, 2), numpy.uint8), "y": numpy.array([[1], [11]])})
    with pytest.raises(DataError, match="labels of 1 to 10"):
        read_mat(path)


# ---- synthetic

SYNTHETIC = "synthetic samples=1000 num_classes=50 test_samples=10 resolution=24".split()


def test_synthetic_images_are_a_function_of_the_sample(monkeypatch):
    datamodule = loaded(*SYNTHETIC, "val_size=100")
    assert sizes(datamodule) == [900, 100, 10] and len(datamodule.notes) == 1
    datamodule.connect_training(EpochOrder(900, 10, 0, True, 0), BatchSplit(), object(), 1)
    assert "recipe.rand_augment=" in datamodule.notes[1]
    train = datamodule.train.to(torch.device("cpu"))
    images = train[torch.arange(900)]
    assert images.shape == (900, 3, 24, 24) and images.dtype == torch.uint8
    assert torch.equal(images, loaded(*SYNTHETIC, "val_size=100").train[torch.arange(900)])
    assert not torch.equal(images[:256], loaded(*SYNTHETIC, "split_seed=1").train[torch.arange(256)])
    stream = Stream("test", Job(train, None), torch.device("cpu"), None, list)
    assert torch.equal(next(iter(EvaluationLoader(stream, 900, 1, 0))).images, images)
    assert torch.equal(train.subset(torch.tensor([7, 300]))[torch.tensor([1])], images[300:301])
    assert (images / 255).mean().item() == pytest.approx(datamodule.mean[0], abs=0.01)
    assert (images / 255).std().item() == pytest.approx(datamodule.std[0], abs=0.01)
    monkeypatch.setattr(synthetic, "MAX_POOL_BYTES", 10_000)  # of large ones fewer fit
    assert len(loaded(*SYNTHETIC).train.images) == 5


# ---- huggingface


@pytest.fixture
def package():
    datasets = pytest.importorskip("datasets", reason="pip install datasets")
    datasets.disable_progress_bars()
    return datasets


def picture(i: int, size: tuple[int, int]) -> dict:
    return {"bytes": encoded(Image.new("RGB", size, (i, 10, 20)), "PNG"), "path": None}


def table(package, count: int, labels, kind=None, size=None, **more):
    """A table of pictures, of one size or of several, and labels."""
    columns = {"picture": [picture(i, size or (40 + i, 50)) for i in range(count)], "animal": labels, **more}
    features = package.Features(
        picture=package.Image(),
        animal=kind or package.Value("string"),
        **{name: package.Value("int64") for name in more},
    )
    return package.Dataset.from_dict(columns, features=features)


def saved(package, folder, **splits) -> str:
    package.DatasetDict(splits).save_to_disk(str(folder))
    return f"name={folder}"


def test_a_small_set_is_held_in_memory(package, tmp_path):
    kind = package.ClassLabel(names=["cat", "dog", "emu"])
    train = table(package, 30, [i % 3 for i in range(30)], kind, size=(28, 28)).shuffle(seed=0)
    name = saved(package, tmp_path / "set", train=train, test=table(package, 6, [2] * 6, kind, size=(28, 28)))
    datamodule = loaded("huggingface", name)
    assert sizes(datamodule) == [27, 3, 6] and datamodule.class_names() == ["cat", "dog", "emu"]
    assert (datamodule.num_classes, datamodule.channels, datamodule.resolution) == (3, 3, 32)
    images, levels = datamodule.train[torch.arange(27)], datamodule.train.labels
    assert images.shape == (27, 3, 32, 32) and torch.equal(images[:, 0, 5, 5].long() % 3, levels)  # rows are shuffled
    assert datamodule.mean == pytest.approx([14.5 / 255, 10 / 255, 20 / 255], abs=1e-4)
    assert loaded("huggingface", name, "val_size=0").val.labels.tolist() == [2] * 6


def test_photographs_with_words_for_labels(package, tmp_path):
    """With a test set whose labels are secret, a row whose image is a file, and one without an image."""
    file = tmp_path / "elsewhere.png"
    Image.new("L", (60, 30), 7).save(file)
    train = table(package, 12, ["emu", "cat", "dog"] * 4)
    rows = [*train.cast_column("picture", package.Image(decode=False))["picture"][:10], {"path": str(file)}, None]
    train = package.Dataset.from_dict({"picture": rows, "animal": ["emu", "cat", "dog"] * 4}, features=train.features)
    splits = {"validation": table(package, 4, ["dog"] * 4), "test": table(package, 4, [None] * 4)}
    datamodule = loaded("huggingface", saved(package, tmp_path / "set", train=train, **splits), "num_classes=null")
    assert sizes(datamodule) == [12, 4, 4] and datamodule.test is datamodule.val
    assert datamodule.class_names() == ["cat", "dog", "emu"] and datamodule.train.labels[:3].tolist() == [2, 0, 1]
    assert datamodule.val.labels.tolist() == [1] * 4 and datamodule.resolution is None
    assert any("no labelled test images" in note for note in datamodule.notes)
    assert isinstance(datamodule.train, EncodedImages)
    assert datamodule.train.open(3).size == (50, 43) and datamodule.train.open(10).size == (30, 60)
    with pytest.raises(OSError, match="has no image"):
        datamodule.train.open(11)
    assert datamodule.train.blobs.name(11) == f"row 11 of {tmp_path}/set/train"
    assert pickle.loads(pickle.dumps(datamodule.train.blobs)).read(0) == rows[0]["bytes"]


def test_a_split_has_one_role(package, tmp_path):
    """A split that is given for training is not the test set; a test set whose labels are all -1 is left out."""
    train, secret = table(package, 12, [0, 1, 2] * 4), table(package, 4, [-1] * 4)
    test = table(package, 6, [0, 1, 2] * 2)
    name = saved(package, tmp_path / "set", train=train, test=test)
    datamodule = loaded("huggingface", name, "train_split=test", "val_size=2")
    assert sizes(datamodule) == [4, 2, 2] and datamodule.test is datamodule.val
    name = saved(package, tmp_path / "secret", train=train, test=secret)
    datamodule = loaded("huggingface", name, "val_size=2")
    assert sizes(datamodule) == [10, 2, 2] and datamodule.class_names() == ["0", "1", "2"]


def test_a_copy_of_a_set_is_the_same_set(package, tmp_path):
    """A run can be resumed with it on another machine, where the package's fingerprint differs."""
    tables = [table(package, 12, labels * 6) for labels in (["a", "b"], ["a", "b"], ["b", "a"])]
    names = [saved(package, tmp_path / str(i), train=one) for i, one in enumerate(tables)]
    state = loaded("huggingface", names[0]).state_dict()
    loaded("huggingface", names[1]).load_state_dict(state)
    with pytest.raises(DataError, match="other training images or classes"):
        loaded("huggingface", names[2]).load_state_dict(state)


def mistakes(package) -> dict[str, tuple[dict, str]]:
    two = package.ClassLabel(names=["a", "b"])
    plain = table(package, 4, [0, 1] * 2, two)
    return {
        "label_column=colour": ({"train": plain}, "has labels in animal"),
        "image_column=animal": ({"train": plain}, "has images in picture"),
        "test_split=tset": ({"train": plain}, "has the splits train"),
        "val_size=0": ({"train": plain}, "no validation or test images"),
        "config=large": ({"train": plain}, "has no configs"),
        "num_classes=3": ({"train": plain}, "has 2 classes"),
        "resolution=24": ({"train": plain}, "sizes from 40x50 to 43x50"),
        "mirror=true": ({"train": plain.remove_columns("animal")}, r"no column of labels: it has picture"),
        "split_seed=0": ({"train": table(package, 4, ["a"] * 4, legs=[4] * 4)}, "label_column=animal"),
        "split_seed=1": ({"train": table(package, 4, [0, 1, -1, 0], two)}, "1 of 4 images have no label"),
        "split_seed=2": ({"a": plain, "b": plain}, "datamodule.train_split=NAME"),
        "split_seed=3": (
            {"train": plain, "test": table(package, 4, ["c"] * 4)},
            "test has classes that the training images lack: c",
        ),
        "split_seed=4": ({"train": plain, "test": plain, "testing": plain}, "datamodule.test_split=test"),
    }


def test_a_mistake_is_a_line_or_two(package, tmp_path):
    for number, (word, (splits, hint)) in enumerate(mistakes(package).items()):
        name = saved(package, tmp_path / str(number), **splits)
        with pytest.raises(DataError, match=hint) as raised:
            loaded("huggingface", name, word)
        assert len(str(raised.value).splitlines()) <= 2, word


def test_the_hubs_errors_are_shown(package, monkeypatch):
    def fail(*_):
        raise ValueError("Config name is missing.\nPlease pick one of ['x', 'y']\nExample of usage:\n\t`load('x')`")

    monkeypatch.setattr(package, "load_dataset", fail)
    with pytest.raises(
        DataError, match=r"^datamodule.name=a/b: Config name is missing. Please pick one of [^\n]*\nIt is"
    ):
        loaded("huggingface", "name=a/b")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="pip install"):
        load_splits({"name": "cifar10", "config": None})

"""Arguments are read from source, nothing is imported, and what is wrong with a value is said in a sentence."""

import re
from typing import get_type_hints

import pytest
import yaml
from conftest import ROOT
from omegaconf import OmegaConf

from lineage.archs import catalogue
from lineage.config import signatures, sources
from lineage.config.signatures import Argument, Signature
from lineage.config.sources import Module, defined_in
from lineage.constraints import compiled, problem

arguments = signatures.arguments.__wrapped__  # without its cache, since each test writes files of the same names
TABLE = yaml.safe_load((ROOT / "tests" / "golden" / "signatures.yaml").read_text())


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """The files of the table are a project, whose folder is not on sys.path."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    for name, text in TABLE["files"].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def read(target: str) -> Signature:
    signature = arguments(target)
    assert signature is not None
    return signature


def shape(target: str) -> tuple[str, bool]:
    """The names, those that are required with a star, and whether there may be others."""
    signature = read(target)
    names = [("*" if argument.required else "") + name for name, argument in signature.arguments.items()]
    return " ".join(names), signature.open


# ---- arguments


@pytest.mark.parametrize(("name", "names"), [*TABLE["shapes"].items(), *TABLE["open"].items()])
def test_arguments(name, names):
    assert shape(f"code.{name}") == (names, name in TABLE["open"])


@pytest.mark.parametrize("target", sum(TABLE["unknown"], []))
def test_what_cannot_be_known(target):
    assert arguments(target) is None


@pytest.mark.parametrize(
    ("target", "names"),
    [("room.One", "*a"), ("room.second_of", "*b"), ("room.second.two", "*b"), ("room.f.One", "*a")]
    + [("room.second." + name, "*a") for name in ("Two", "Three", "Four", "Five")]
    + [("room.second.f.One", "*a")],
)
def test_imports_are_followed(target, names):
    assert shape(target) == (names, False)


def test_packages_of_sys_path(project, monkeypatch):
    monkeypatch.setattr(sources, "ROOT", project / "elsewhere")
    assert arguments("room.One") is None
    monkeypatch.syspath_prepend(str(project))
    assert shape("room.One") == ("*a", False)
    assert shape("loose.part.three") == ("*c", False)


def test_defined_in_follows_no_import(project):
    assert defined_in("room.first.One") == project / "room" / "first.py"
    assert defined_in("code.plain") == project / "code.py"
    for target in ("room.One", "room.second.two", "room.second.first.One", "code.wraps", "code.other", "code.value"):
        assert defined_in(target) is None
    for target in ("room", "room.first", "code.absent", "code.Base.forward", "os.system", "subprocess.run", ""):
        assert defined_in(target) is None


# ---- values


@pytest.mark.parametrize(
    ("sentence", "annotation", "value"),
    [
        (sentence, annotation, value)
        for sentence, rows in {None: TABLE["fine"], **TABLE["wrong"]}.items()
        for annotation, values in rows.items()
        for value in values
    ],
)
def test_what_is_said_about_a_value(project, sentence, annotation, value):
    with open(project / "annotations.py", "a") as file:
        file.write(f"\ndef f(a: {annotation}): ...")
    sources.parse.cache_clear()
    known = read("annotations.f").arguments["a"].annotation
    assert problem(known, value) == sentence
    if isinstance(value, list | dict):
        assert problem(known, OmegaConf.create(value)) == sentence


def test_without_an_annotation_anything_may_be(tmp_path):
    annotation = Argument(None, Module(tmp_path, {}), required=True).annotation
    assert problem(annotation, None) is None and problem(annotation, object()) is None


def test_a_condition_runs_no_code():
    for text in ("x.__class__", "open(x)", "[].append(x)", "len.__self__", "y", "import x", "(lambda x: x)(x).y"):
        assert compiled(text) is None


def test_every_condition_of_the_project_is_understood():
    rooms = [ROOT / room for room in ("archs", "datamodules", "recipes", "lineage")]
    files = [path.read_text() for room in rooms for path in room.rglob("*.py")]
    conditions = [text for file in files for text in re.findall(r'Annotated\[\w+, "([^"]*)"', file)]
    assert len(conditions) > 50 and all(map(compiled, conditions))


# ---- what is shipped, and Lightning's


@pytest.mark.parametrize("name", catalogue.names())
def test_source_and_import_agree(name, monkeypatch):
    """The command reads the same types as the constructor holds."""
    monkeypatch.setattr(sources, "ROOT", ROOT)
    target = catalogue.target(name)
    held = get_type_hints(target.__init__ if isinstance(target, type) else target, include_extras=True)
    known = read(str(catalogue.read(name).arch._target_))
    assert not known.open and list(known.arguments) == catalogue.parameters(name)
    for argument in known.arguments:
        assert known.arguments[argument].annotation == held[argument]


def test_options_of_data_sets_are_those_of_their_bases(monkeypatch):
    monkeypatch.setattr(sources, "ROOT", ROOT)
    assert {"root", "val_size", "show"} <= read("lineage.datamodules.sets.cifar.CIFAR10").arguments.keys()


def test_of_lightning():
    def said(target: str, name: str, value: object) -> str | None:
        return problem(read(f"pytorch_lightning.{target}").arguments[name].annotation, value)

    stopping = read("pytorch_lightning.callbacks.EarlyStopping")
    assert stopping.arguments["monitor"].required and not stopping.open
    assert said("callbacks.EarlyStopping", "patience", 2.5) == "it takes a whole number."
    sentence = "it is one of step, epoch or null. Did you mean step?"
    assert said("callbacks.LearningRateMonitor", "logging_interval", "stp") == sentence
    assert said("loggers.TensorBoardLogger", "save_dir", [1]) == "it takes a word or a path."  # an alias elsewhere
    assert said("callbacks.ModelCheckpoint", "train_time_interval", 3) is None
    assert read("pytorch_lightning.loggers.TensorBoardLogger").open
    assert "max_epochs" in read("pytorch_lightning.Trainer").arguments

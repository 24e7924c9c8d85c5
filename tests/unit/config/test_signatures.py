"""Arguments are read from source, nothing is imported, and what is wrong with a value is said in a sentence."""

import re
import textwrap
from typing import get_type_hints

import pytest
from conftest import ROOT
from omegaconf import OmegaConf

from lineage.archs import catalogue
from lineage.config import signatures, sources
from lineage.config.signatures import Argument, Signature
from lineage.config.sources import Module, defined_in
from lineage.constraints import compiled, problem

arguments = signatures.arguments.__wrapped__  # without its cache, since each test writes files of the same names


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write files as a project, whose folder is not on sys.path, and read the signature of a target in it."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path = path.with_name("__init__.py") if path.name == "init.py" else path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    return write


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

CODE = """
    from dataclasses import dataclass
    from functools import wraps
    from typing import Generic, overload
    def plain(a, b=1, /, c=2, *values, d, e=3): ...
    @overload
    def typed(a): ...
    def typed(b): ...
    class Base:
        def __init__(self, width, depth=1): ...
    class Inherits(Base):
        def forward(self, x): ...
    class Passes(Base):
        def __init__(self, own, **options):
            super().__init__(4, **options)
    class Nothing(Generic[int]): ...
    class Unknown(missing.Base): ...
    class Made:
        def __new__(cls, a): ...
    @attrs.define
    class Attrs:
        a: int
    class Overrides(Passes):
        def __init__(self, depth, **options):
            super().__init__(depth=depth, **options)
    class Several(Passes, Base): ...
    class Spreads(Base):
        def __init__(self, more, **options):
            super().__init__(**more, **options)
    class Reads(Base):
        def __init__(self, **options):
            self.width = options["width"]
            super().__init__(**options)
    @dataclass
    class Record:
        a: int
    def build(name, **options):
        return Base(name, **options)
    @wraps(plain)
    def changed(a): ...
    @checked
    def same(a): ...
    other = build
    value = 3
"""
SHAPES = {
    "plain": "*a b c *d e", "typed": "*b", "Base": "*width depth", "Inherits": "*width depth", "Passes": "*own depth",
    "Overrides": "*depth *own", "Nothing": "", "Spreads": "*more width depth",
    "same": "*a",
}  # fmt: skip
OPEN_SHAPES = {"Reads": "", "build": "*name", "other": "*name", "changed": "*a"}  # there may be other arguments


@pytest.mark.parametrize(("name", "names"), [*SHAPES.items(), *OPEN_SHAPES.items()])
def test_arguments(project, name, names):
    project(code=CODE)
    assert shape(f"code.{name}") == (names, name in OPEN_SHAPES)


UNKNOWN = [
    "code.Unknown", "code.Several", "code.Made", "code.Attrs", "code.Record", "code.value", "code.absent",
    "code.Base.forward", "code", "", ".", "..code.Base", "code.no word", "math.sqrt", "sys.exit",
    "no_such_package.Thing", "torch.nn.Linear",
]  # fmt: skip


@pytest.mark.parametrize("target", UNKNOWN)
def test_what_cannot_be_known(project, target):
    project(code=CODE)
    assert arguments(target) is None


def test_a_file_that_is_not_python_or_is_nowhere(project):
    project(broken="def f(: ...", gap="from . import x")
    for target in ("broken.f", "gap.x"):
        assert arguments(target) is None


FILES = {
    "room__init": "from room.first import One\nfrom .second import two as second_of\nfrom . import first as f",
    "room__first": "class One:\n    def __init__(self, a): ...",
    "room__second": """
        try:
            from .inner import two
        except ImportError:
            two = None
        if True:
            from ..room import first
        import room.first
        import room.first as alias
        from room import f
        class Two(first.One): ...
        class Three(room.first.One): ...
        class Four(alias.One): ...
        class Five(f.One): ...
    """,
    "room__inner__init": "from .deep import two",
    "room__inner__deep": "def two(b): ...",
    "loose__part": "def three(c): ...",  # a folder without __init__.py
}


@pytest.mark.parametrize(
    ("target", "names"),
    [("room.One", "*a"), ("room.second_of", "*b"), ("room.second.two", "*b"), ("room.f.One", "*a")]
    + [("room.second." + name, "*a") for name in ("Two", "Three", "Four", "Five")]
    + [("room.second.f.One", "*a")],
)
def test_imports_are_followed(project, target, names):
    project(**FILES)
    assert shape(target) == (names, False)


def test_packages_of_sys_path(project, tmp_path, monkeypatch):
    project(**FILES)
    monkeypatch.setattr(sources, "ROOT", tmp_path / "elsewhere")
    assert arguments("room.One") is None
    monkeypatch.syspath_prepend(str(tmp_path))
    assert shape("room.One") == ("*a", False)
    assert shape("loose.part.three") == ("*c", False)


def test_defined_in_follows_no_import(project, tmp_path):
    project(code=CODE, **FILES)
    assert defined_in("room.first.One") == tmp_path / "room" / "first.py"
    assert defined_in("code.plain") == tmp_path / "code.py"
    for target in ("room.One", "room.second.two", "room.second.first.One", "code.wraps", "code.other", "code.value"):
        assert defined_in(target) is None
    for target in ("room", "room.first", "code.absent", "code.Base.forward", "os.system", "subprocess.run", ""):
        assert defined_in(target) is None


# ---- values


ANNOTATIONS = """
    import pathlib
    import typing as t
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta
    from typing import Annotated, Any, List, Literal, Optional, Union
    from elsewhere import Choice, Count, PATH
    from pathlib import Path
    from unknown import Thing

    class str_(str): ...
"""
ELSEWHERE = """
    from pathlib import Path
    from typing import Annotated, Literal, TypeAlias, Union
    Whole = int
    Count = Annotated[Whole, "x >= 1"]
    Choice: TypeAlias = Literal["auto", 3]
    PATH = Union[str, Path]
"""


def check(project, annotation: str, value: object) -> str | None:
    project(annotations=ANNOTATIONS + f"\n    def f(a: {annotation}): ...", elsewhere=ELSEWHERE)
    sources.parse.cache_clear()
    return problem(read("annotations.f").arguments["a"].annotation, value)


LIST, NUMBERS = OmegaConf.create([1, 2]), OmegaConf.create({"a": 1})
FINE = [
    ("bool", True), ("int", 3), ("float", 3), ("float", 0.5), ("str", "a"), ("str", 1998), ("None", None),
    ("int | None", None), ("Optional[int]", None), ("t.Optional[int]", 3), ("Union[int, str]", "a"), ("int | str", 3),
    ("float | str", 3), ("Literal['modern', '1998']", 1998), ("Literal[2012]", "2012"), ("Literal[True, 'a']", True),
    ("bool | Literal['warn']", "warn"), ("Literal['a', None]", None), ("Literal['a'] | None", None),
    ("Annotated[int, 'x >= 1', 'x % 2 == 0']", 2), ("Annotated[int, 'a count']", 0), ("Annotated[int, 'x.real']", 0),
    ("Annotated[float, 'isfinite(x)']", 1.0), ("Annotated[list[int], 'len(x) == 2']", LIST), ("Count", 1),
    ("Choice", "3"), ("Choice | None", None), ("PATH", "a"), ("Path", "a"), ("pathlib.Path", "a"), ("list", [1, "a"]),
    ("list[int]", LIST), ("List[int]", []), ("Sequence[Count]", (1, 2)), ("Iterable[int] | int", 1),
    ("tuple[int, str]", [1, "a"]), ("tuple[int, ...]", [1, 2, 3]), ("dict", NUMBERS), ("Mapping[str, int]", {}),
    ("int", {"_target_": "a.B"}), ("Sequence[int]", {"_target_": "a.B"}), ("list[int]", [{"_target_": "a.B"}]),
    ("Thing", 1), ("Thing | None", [1]), ("timedelta", None), ("str | timedelta | None", [1]), ("'Thing'", None),
    ("Optional['Thing']", 3), ("Any", None), ("str_", 1), ("list[Thing]", [1]), ("Literal[Thing.a]", 1), ("1 + 2", 1),
    ("Callable[[int], int]", 1),
]  # fmt: skip
WRONG = {
    "it takes true or false.": [("bool", 1)],
    "it takes a whole number.": [("int", True), ("int", 2.0), ("int", "abc"), ("int", float("nan"))],
    "it takes a number.": [("float", "abc"), ("int | float", "abc")],
    "it is a finite number.": [("float", float("inf")), ("int | float", float("nan"))],
    "it takes a word.": [("str", True), ("str", 0.5), ("str", [1])],
    "it takes a word or a path.": [("PATH", [1])],
    "it takes a list, [1, 2].": [("list", "abc"), ("list", NUMBERS)],
    "it takes a mapping, {a: 1}.": [("dict", LIST)],
    "it cannot be null.": [("int", None), ("Count", None), ("Literal['a', 'b']", None), ("list[int]", None)],
    "it takes a whole number or null.": [("int | None", "a")],
    "it is one of modern, 1998. Did you mean modern?": [("Literal['modern', '1998']", "modrn")],
    "it is a or null.": [("Literal['a'] | None", "xyz")],
    "it is one of True, a. Did you mean True?": [("Literal['True', 'a']", True)],
    "it is one of true, 1. Did you mean true?": [("Literal[True, 1]", "true")],
    "it takes true or false or it is warn. Did you mean warn?": [("bool | Literal['warn']", "warm")],
    "it is one of auto, 3. Did you mean auto?": [("Choice", "atuo")],
    "it is at least 1.": [("Count", 0), ("Annotated[int, '1 <= x']", 0)],
    "it is at least 0 and at most 1.": [("Annotated[float, '0 <= x <= 1']", 2)],
    "it is above 0.": [("Annotated[float, 'x > 0']", 0)],
    "it is at least 0 and below 1.": [("Annotated[float, '0 <= x < 1']", 1)],
    "it is above 0 and at most 1.": [("Annotated[float, '0 < x <= 1']", 0)],
    "it is above -10 and below 0.001.": [("Annotated[float, '-10 < x < 1e-3']", 1)],
    "it is below 2**32.": [("Annotated[int, 'x < 2**32']", 2**32)],
    "it is at most 3.": [("Annotated[int, 'x >= 1', 'x <= 3']", 4)],
    "it must satisfy x >= 8 and x % 6 == 2; 26 and 32 do.": [("Annotated[int, 'x >= 8 and x % 6 == 2']", 30)],
    "it must satisfy x >= 8 and x % 6 == 2; 8 and 14 do.": [("Annotated[int, 'x >= 8 and x % 6 == 2']", -5)],
    "it must satisfy x == 7 or x == 5000; 7 does.": [("Annotated[int, 'x == 7 or x == 5000']", 1)],
    "it must satisfy 1 / x > 0; 1 and 2 do.": [("Annotated[int, '1 / x > 0']", 0)],
    "it must satisfy x == 5000.": [("Annotated[int, 'x == 5000']", 1)],
    "it must satisfy len(x) > 2.": [("Annotated[str, 'len(x) > 2']", "a")],
    "it must satisfy x == -1 or x >= 1; -1 and 1 do.": [("Annotated[int, 'x == -1 or x >= 1'] | list[int] | str", 0)],
    "it takes a whole number or it is at least 0 and at most 1.": [
        ("Annotated[int, 'x >= 0'] | Annotated[float, '0 <= x <= 1']", 1.5),
    ],
    "its element 2, a, takes a whole number.": [("list[int]", [1, "a"])],
    "its element 1, 0, is at least 1.": [("Sequence[Count]", OmegaConf.create([0]))],
    "its element 1, null, cannot be null.": [("list[int] | str", [None])],
    "its element 1, atuo, is one of auto, 3. Did you mean auto?": [("list[Choice]", ["atuo"])],
    "it takes a list of 2.": [("tuple[int, str]", [1])],
}  # fmt: skip


@pytest.mark.parametrize(("annotation", "value"), FINE)
def test_values_that_may_be(project, annotation, value):
    assert check(project, annotation, value) is None


@pytest.mark.parametrize(
    ("annotation", "value", "sentence"), [(*pair, sentence) for sentence, pairs in WRONG.items() for pair in pairs]
)
def test_values_that_may_not(project, annotation, value, sentence):
    assert check(project, annotation, value) == sentence


def test_without_an_annotation_anything_may_be(tmp_path):
    annotation = Argument(None, Module(tmp_path, {}), required=True).annotation
    assert problem(annotation, None) is None and problem(annotation, object()) is None


def test_a_condition_runs_no_code(project):
    for text in ("x.__class__", "open(x)", "[].append(x)", "len.__self__", "y", "import x", "(lambda x: x)(x).y"):
        assert compiled(text) is None


def test_every_condition_of_the_project_is_understood():
    rooms = [ROOT / room for room in ("archs", "datamodules", "recipes", "lineage")]
    files = [path.read_text() for room in rooms for path in room.rglob("*.py")]
    conditions = [text for file in files for text in re.findall(r'Annotated\[\w+, "([^"]*)"', file)]
    assert len(conditions) > 50 and all(map(compiled, conditions))


# ---- what is shipped, and Lightning's


@pytest.mark.parametrize("name", catalogue.names())
def test_source_and_import_agree(name):
    """The command reads the same types as the constructor holds."""
    target = catalogue.target(name)
    held = get_type_hints(target.__init__ if isinstance(target, type) else target, include_extras=True)
    known = read(str(catalogue.read(name).arch._target_))
    assert not known.open and list(known.arguments) == catalogue.parameters(name)
    for argument in known.arguments:
        assert known.arguments[argument].annotation == held[argument]


def test_options_of_data_sets_are_those_of_their_bases():
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

"""Every choice composes and passes the checks; every mistake is one line with the nearest right, and leaves nothing."""

import json
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import yaml
from conftest import composed
from doors import ROOT, cold, error_message
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from rich.console import Console
from runs.pictures import write_folders

from docs import keys
from lineage import doors
from lineage.config import help
from lineage.config import messages as errors
from lineage.config.overrides import READ
from lineage.recipes.recipe import ANNOTATIONS, Recipe
from lineage.running.stopping import Stop

GROUPS = ("arch", "datamodule", "recipe", "trainer", "callbacks", "logger", "experiment")
CHOICES = [f"{group}={path.stem}" for group in GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of images, where ImageNet would lie, and what a packed data set says first."""
    root = tmp_path_factory.mktemp("data")
    write_folders(root / "imagenet", count=1)
    facts = {"version": 1, "classes": ["ant", "bee"], "channels": 1, "mean": [0.5], "std": [0.5], "mirror": True}
    (root / "packed").mkdir()
    (root / "packed" / "dataset.json").write_text(
        json.dumps({**facts, "exif_rotation": True, "images": {"train": 1, "test": 1}, "files": {}, "crc32": {}})
    )
    return root


NEEDED = {  # beside a choice
    "datamodule=imagefolder": "datamodule.root={}/imagenet",
    "datamodule=packed": "datamodule.root={}/packed",
    "experiment=own_photos": "datamodule.root={}/imagenet",
    "datamodule=huggingface": "datamodule.name=a/b datamodule.num_classes=2 datamodule.channels=1 "
    "datamodule.mean=[0.5] datamodule.std=[0.5]",  # all that would be found
}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_passes(choice, folder, monkeypatch, checked, tmp_path):
    monkeypatch.setenv("LINEAGE_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    done = checked("train", choice, *NEEDED.get(choice, "").format(folder).split())
    assert (done.returncode, done.stderr) == (77, "") and not list(tmp_path.iterdir())


def test_the_recipe_of_the_readme_passes():
    block = (ROOT / "README.md").read_text().partition("# conf/recipe/mine.yaml\n")[2].partition("\n\n")[0]
    said = yaml.safe_load(textwrap.dedent(block))
    recipe = composed(f"recipe={said.pop('defaults')[0]}").recipe
    OmegaConf.to_object(OmegaConf.merge(recipe, said)).check()


def test_defaults_of_the_schema_mean_off():
    assert all(
        value in (0, "", [], False, "none", "uniform")
        for value in OmegaConf.to_container(OmegaConf.structured(Recipe)).values()
        if value != "???"
    )


MISTAKES = yaml.safe_load((ROOT / "tests" / "golden" / "mistakes.yaml").read_text())


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        *((f"train {words}", hint) for words, hint in MISTAKES["train"].items()),
        *MISTAKES["other verbs"].items(),
    ],
)
def test_a_mistake_is_one_line(words, hint, checked, tmp_path):
    assert hint in error_message(checked(*words.split())) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("file", "words"), [("sweep.jsonl", ()), ("config.yaml", ("-m", "seed=0,1"))])
def test_a_run_is_no_sweep(file, words, checked, tmp_path):
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "x" / file).write_text("[]")
    assert "another name" in error_message(checked("train", *words, "run=x"))


@pytest.mark.parametrize(("environment", "words", "hint"), MISTAKES["tasks of SLURM"])
def test_tasks_of_slurm_are_devices(environment, words, hint, monkeypatch, checked):
    for name, value in {**MISTAKES["a job of SLURM"], **environment}.items():
        monkeypatch.setenv(name, value)
    done = checked("train", "trainer=cpu", *words.split(), "run=x")
    assert hint in error_message(done) if hint else (done.returncode, done.stderr) == (77, "")


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_torchrun_hears_of_a_mistake_once(tmp_path, monkeypatch, rank, lines):
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "TORCHELASTIC_ERROR_FILE": "error.json"}.items():
        monkeypatch.setenv(name, value)
    done = cold(tmp_path, "train", "arch=resnt50", "run=x")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == lines, done.stderr
    assert "resnet50" in json.loads((tmp_path / "error.json").read_text())["message"]["message"]


@pytest.mark.parametrize(("words", "hint"), MISTAKES["from a cold start"].items())
def test_from_a_cold_start_without_torch(tmp_path, words, hint):
    assert hint in error_message(cold(tmp_path, *words.split())) and not list(tmp_path.iterdir())


def test_help_needs_no_torch(tmp_path):
    done = cold(tmp_path, "train", "--help")
    assert done.returncode == 0 and "recipe: " in done.stdout and "python train.py -m" in done.stdout


@pytest.fixture
def printed(monkeypatch, capsys, tmp_path):
    """What a command of the shell prints that does not run: help, completion."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["lineage", *words])
        doors.main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("verb", ["train", *READ])
def test_the_help_of_a_verb_is_a_screen(verb, printed):
    lines = printed(verb, "--help").splitlines()
    examples = [line for line in lines if line.startswith(("  lineage ", "  python "))]
    assert len(lines) <= 60 and max(map(len, lines)) <= 80 and len(examples) == 3
    assert all(text.strip() for text in help.own_keys(verb).values())


@pytest.mark.parametrize(("words", "text"), MISTAKES["explained"].items())
def test_help_explains_a_key(words, text, printed):
    assert printed("train", "--help", *words.split()).startswith(text)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("lineage ex", "explain"),
        ("lineage train arch=resnext5", "arch=resnext50_32x4d"),
        ("lineage train recipe.lamb", "recipe.lamb_clip="),
    ],
)
def test_a_shell_completes(line, found, printed, monkeypatch):
    monkeypatch.setenv("COMP_LINE", line)
    assert found in printed("-sc", "query=bash").split()


def test_page_of_keys_is_current():
    assert keys.PAGE.read_text() == keys.page(), "stale: make docs"


def test_every_key_of_a_recipe_has_a_text():
    texts = {key: text for group in help.recipe_keys().values() for key, text in group.items()}
    assert texts.keys() == ANNOTATIONS.keys() and all(texts.values())


class FromAfar(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (OSError(28, "No space left on device", "/x/y"), "/x/y: no space left"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "trainer.max_per_device"),
        *((FromAfar(text), hint) for text, hint in MISTAKES["what libraries say"].items()),
    ],
)
def test_what_libraries_say_in_their_words(error, hint):
    assert hint in errors.user_sentence(error)
    assert errors.user_sentence(FromAfar("a fault of the program")) is None


def test_hydra_is_left_as_it_was():
    assert not HydraConfig.initialized()


def test_a_limit_of_no_time_is_one():
    assert Stop(max_time=0, timeout_s=1, console=Console(), name="x").deadline is not None  # 0 is YAML's number

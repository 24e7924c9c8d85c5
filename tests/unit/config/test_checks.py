"""Every choice composes and passes the checks; every mistake is one line with the nearest right, and leaves nothing."""

import json
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import yaml
from conftest import composed, recipe_of
from doors import ROOT, Done, cold, error_message
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from rich.console import Console
from runs.pictures import write_folders

from docs import keys
from lineage import doors
from lineage.config import help
from lineage.config import messages as errors
from lineage.config.overrides import READ
from lineage.recipes.recipe import ANNOTATIONS, Recipe, RecipeError
from lineage.running.stopping import Stop

GROUPS = ("arch", "datamodule", "recipe", "trainer", "callbacks", "logger", "experiment")
CHOICES = [f"{group}={path.stem}" for group in GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


@pytest.fixture
def checked(monkeypatch, capsys, tmp_path):
    """Open a door in this process, in an empty folder, and stop it where its words have been checked: status 77."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lineage.running.parent.follow_parent", lambda: sys.exit(77))

    def run(door: str, *words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["lineage", *words])
        with pytest.raises(SystemExit) as end:
            doors.main(door)
        return Done(end.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of images, where ImageNet would lie, and what a packed data set says first."""
    root = tmp_path_factory.mktemp("data")
    write_folders(root / "imagenet", count=1)
    facts = {"version": 1, "classes": ["ant", "bee"], "channels": 1, "mean": [0.5], "std": [0.5], "mirror": True}
    (root / "packed").mkdir()
    (root / "packed" / "dataset.json").write_text(
        json.dumps({**facts, "exif_rotation": True, "images": {"train": 1, "test": 1}, "files": {}})
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


MISTAKES = {
    # a name or a key
    "arch=resnt50": "resnet50", "datamodule=cifr10": "cifar10", "arch=../arch/lenet5": "no such arch",
    "recipe.lrr=1": "recipe.lr", "+recipe.lrr=1": "recipe.lr", "+recipe.ema_decay=0.9": "Did you mean recipe.ema?",
    "recipe.mixup=0.2": "write recipe.mixup_alpha=0.2.", "arch.variannt=1998": "arch.variant",
    "+arch.x=1": "no such key", "arch.pretrained=timm": "write pretrained=timm.", "+datamodule.foo=1": "no such key",
    "+trainer.nothing=1": "no such key", "+logger.csv.x=1": "no such key", "+nothing=1": "no such group or key",
    "nothing": "key=value", "recipe.precise=1": "Did you mean recipe.precise_bn?",
    # a key of another program, or of another group
    "lr=0.1": "lr=0.1: write recipe.lr=0.1.", "+lr=0.1": "Did you mean recipe.lr?", "model=vgg16": "write arch=vgg16.",
    "arch.gpus=2": "write trainer.devices=2.", "fp16=true": "write trainer.precision=16-mixed.",
    "optimizer.lr=1": "optimizer.lr=1: write recipe.lr=1.", "stem=cifar": "write arch.stem=cifar.",
    "arch.stem=cifar": "Another arch has it.", "milestones=[4]": "write 'recipe.decay_epochs=[4]'.",
    "--recipe.lr=0.1": "write recipe.lr=0.1.", "--learning-rate 0.1 seed=1": "-rate 0.1: write recipe.lr=0.1.",
    "seed=1 --nothing": "key=value, without dashes", "--help recipe.lamb_clp": "Did you mean recipe.lamb_clip?",
    "--help arch.stem": "Another arch has it.",
    # a value of another type, or out of its range
    "recipe.epochs=abc": "a whole number", "recipe.batch_size=-1": "at least 1", "recipe.mixup_alpha=-1": "at least 0",
    "recipe.lr=null": "null", "recipe.lr=inf": "at most 1,000,000,000.\n",
    "recipe.nesterov=perhaps": "recipe.nesterov=perhaps: it takes true or false",
    "recipe.optimizer=adamW": "Did you mean adamw?", "recipe.finetune=head": "it is classifier or nothing",
    "recipe.cutout=64": "covers the image's 32", "recipe.momentum=nan": "below 1", "recipe.decay_epochs=3": "a list",
    "recipe.optimizer=sdg": "sgd", "recipe.epochs=1e22": "whole number", "recipe.epochs=10000000000": "at most",
    "recipe.batch_size=100000000000": "at most", "recipe.mixup_alpha=1e308": "at most",
    "recipe.rand_augment=rand-m999": "magnitudes", "recipe.rand_augment=rand-m7-foo": "foo",
    "recipe.rand_augment=rand-m7-tfoo": "tweights", "recipe.rand_augment=rand-m7-p5": "probability",
    "recipe.rand_augment=rand-m7-n0": "no operation", "recipe.rand_augment=rand-m7-mstd0.5-m8": "m stands there twice",
    "recipe.auto_augment=v0-mstd": "v0-mstd0.5", "recipe.auto_augment=v9": "v0",
    "recipe.crop_padding=1000": "32 pixels", "arch.variant=modrn": "modern", "arch.num_classes=-1": "arch.num_classes",
    "arch.num_classes=0": "the data have 10", "arch=wideresnet arch.depth=27": "arch.depth=27",
    "arch=wideresnet arch.widen_factor=0": "arch.widen_factor=0", "datamodule.show=stretch": "pad",
    "datamodule.resolution=null": "null", "datamodule.resolution=1000000": "datamodule.resolution",
    "datamodule.mean=[1,2,3]": "datamodule.mean", "datamodule.mean=[0.1,0.2,0.3]": "one a channel",
    "datamodule.std=[]": "one a channel", "datamodule.std=[0]": "datamodule.std",
    "datamodule.split_seed=-1": "datamodule.split_seed", "datamodule.channels=3": "3, one a channel",
    "datamodule.workers=-1": "datamodule.workers", "trainer.max_per_device=many": "a whole number",
    "trainer.precision=bf17": "bf16-mixed", "trainer.precision=64-true": "32-true", "trainer.accelerator=tpu": "cpu",
    "trainer.strategy=fsdp": "ddp", "trainer.devices=[]": "trainer.devices", "trainer.devices=many": "auto",
    "trainer.devices=0": "trainer.devices", "trainer.log_every_n_steps=0": "at least 1",
    "trainer.max_epochs=0": "at least 1", "trainer.max_epochs=-1": "at least 1",
    "trainer.max_epochs=31": "recipe.epochs=30", "trainer.checkpoint_steps=-5": "trainer.checkpoint_steps",
    "trainer.timeout_s=0": "trainer.timeout_s", "trainer.max_time=soon": "DD:HH:MM:SS",
    "trainer.compile=max-autotune": "pytorch issues", "trainer.graph=1": "true or false",
    "recipe=alexnet trainer.check_val_every_n_epoch=2": "check_val_every_n_epoch=1", "seed=-1": "seed",
    "seed=1.5": "a whole number", "test_weights=worst": "last, best",
    "test_weights=best trainer.check_val_every_n_epoch=50": "validates none",
    "callbacks=early_stopping trainer.limit_val_batches=0": "trainer.limit_val_batches=0 validates nothing",
    "pretrained=nothing.pth": "no such file", "arch=googlenet pretrained=timm": "no released weights",
    "arch=se_resnet50 pretrained=torchvision": "timm has",
    # what is decided elsewhere
    "+trainer.callbacks=[a]": "callbacks=", "+trainer.accumulate_grad_batches=2": "max_per_device",
    "+trainer.gradient_clip_val=1": "recipe.grad_clip", "trainer.max_steps=10": "recipe.epochs",
    "trainer.fast_dev_run=true": "trainer=debug", "+callbacks.x=1": "names no class", "+logger.x=1": "names no class",
    "+callbacks.x._target_=pytorch_lightning.callbacks.StochasticWeightAveraging": "recipe.swa",
    "+callbacks.x._target_=pytorch_lightning.callbacks.ModelCheckpoint": "trainer.checkpoint_minutes",
    "logger=wandb logger.wandb.project=a/b": "logger.wandb.project=a/b", f"run={'x' * 300}": "at most 200 bytes",
    # a group that is not there
    "arch=null": "arch=null", "recipe=null": "recipe=null", "~trainer": "trainer=...",
    "arch=[lenet5]": "one choice by name", "arch=resnet18,resnet34": "-m", "arch=1": "arch=1: a group is a choice",
    "logger=[csv,tensorbord]": "logger=tensorbord: there is no such logger",
    # what would hide a value, or be one already
    "~seed": "seed=...", "~recipe.lr": "recipe.lr=...", "~arch.num_classes": "arch.num_classes=...",
    "~logger": "logger=none", "+recipe.lr=0.1": "recipe.lr: it has a value", "+experiment=lenet5_mnist": "without +",
    "arch.in_channels=3": "the images have 1",
    # a name of a run
    "run=..": "below runs/", "run=../../etc/x": "below runs/", "run=/tmp/x": "below runs/",
    "run=null": "a run has a name", "-m run=a,b": "run: a sweep has one", "-m runs=a,b": "runs: a sweep has one",
    "-m hydra/launcher=joblib hydra.launcher.n_jobs=0 seed=0,1": "n_jobs=0",
    "-m hydra/launcher=joblib hydra.launcher.prefer=threads seed=0,1": "hydra.launcher.prefer",
    "-m hydra.launcher.n_jobs=0 seed=0,1": "n_jobs=0", "recipe.lr=0.1,-1 -m seed=0": "recipe.lr=-1",
    "-m hydra/sweeper=random seed=0,1 datamodule.val_size=0": "by which no search may choose",
    "-m hydra/sweeper=random recipe.lr=interval(-1,1)": "recipe.lr=-1", "-m hydra/sweeper=random": "a key that is open",
    "-m recipe.lr=interval(0.1,1)": "hydra/sweeper=random", "-m hydra/sweeper=random recipe.lr=interval(1,0)": "to rise",
    "-m hydra/sweeper=random seed=0,1 hydra.sweeper.maximise=test_top1": "the test set",
    "-m hydra/sweeper=random seed=0,1 hydra.sweeper.maximise=val_top2": "val_top5",
    "-m hydra/sweeper=random seed=0,1 hydra.sweeper.trials=0": "hydra.sweeper.trials=0",
    "experiment=nasnet_finals finals_of=search": "the finals are a sweep",
    "-m hydra/sweeper=basic seed=0,1": "leave it out", "-m --cfg job": "Only one of --run",
    "--resolve": "--cfg or --help", "--shell-completion": "install", "runs=": "it is a place",
    # Hydra's keys that do nothing here
    "hydra.run.dir=elsewhere": "runs=FOLDER run=NAME", "-m hydra.sweep.dir=elsewhere seed=0,1": "runs=FOLDER run=NAME",
    "hydra.verbose=true": "does nothing here", "hydra/job_logging=disabled": "does nothing here",
    # callbacks of Lightning's
    "callbacks=early_stopping callbacks.early_stopping.patience=soon": "a whole number",
    "callbacks=early_stopping +callbacks.early_stopping.patiance=3": "patience",
    "callbacks=early_stoping": "early_stopping",
    "+callbacks.pruning._target_=pytorch_lightning.callbacks.ModelPruning": "it replaces parameters",
    "callbacks=early_stopping callbacks.early_stopping.patience=-1": "0 epochs or more",
    "callbacks=early_stopping callbacks.early_stopping.mode=most": "max, of an accuracy",
}  # fmt: skip
OF_OTHER_DOORS = {
    "evaluate": "Nothing to evaluate", "evaluate run=nothing": "holds no run", "evaluate run=../x": "below runs/",
    "evaluate pretrained=timm": "no released weights",
    "evaluate arch=resnet18 pretrained=timm recipe.lr=1": "does not read recipe.lr",
    "evaluate arch=resnet18 pretrained=timm test_weights=best": "does not read test_weights",
    "evaluate arch=resnet18 pretrained=timm logger=wandb": "does not read logger",
    "evaluate arch=resnet18 pretrained=timm seed=1": "does not read seed",
    "evaluate arch=resnet18 pretrained=timm split=tset": "test, val, train",
    "evaluate arch=resnet18 pretrained=timm resolution=0": "resolution=0",
    "evaluate arch=resnet18 pretrained=timm crop=2": "crop=2",
    "evaluate arch=resnet18 pretrained=timm crop=0.9": "one size",
    "evaluate arch=resnet18 pretrained=timm recipe.test_res=64": "one size",
    "evaluate arch=resnet18 pretrained=timm recipe.test_views=flip": "not of its class",
    "evaluate arch=resnet18 pretrained=timm checkpoint=x": "last, best",
    "evaluate run=a datamodule.on_error=skip": "with a plus: +datamodule.on_error=...",
    "evaluate -m run=a,b": "no sweeps", "evaluate run=a experiment=resnet20_cifar10": "the run has its own network",
    "evaluate arch=resnet18 pretrained=timm trainer.max_time=0": "does not read trainer.max_time",
    "export arch=resnet18 pretrained=timm to=safetensors output=x.st": "x.st.safetensors",
    "preview recipe.distill=hard recipe.distill_share=1": "teacher=RUN",
    "predict images=x epochs=1": "epochs: there is no such key.",
    "describe trainer.devices=2": "does not read trainer.devices", "describe recipe.lr=1": "does not read recipe.lr",
    "describe resolution=big": "resolution=big: it takes a whole number",
    "describe resoltion=32": "Did you mean resolution?", "describe arch=resnt50": "resnet50",
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "hint"), [*((f"train {words}", hint) for words, hint in MISTAKES.items()), *OF_OTHER_DOORS.items()]
)
def test_a_mistake_is_one_line(words, hint, checked, tmp_path):
    assert hint in error_message(checked(*words.split())) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("file", "words"), [("sweep.jsonl", ()), ("config.yaml", ("-m", "seed=0,1"))])
def test_a_run_is_no_sweep(file, words, checked, tmp_path):
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "x" / file).write_text("[]")
    assert "another name" in error_message(checked("train", *words, "run=x"))


SLURM = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NNODES": "1"}


@pytest.mark.parametrize(
    ("environment", "words", "hint"),
    [
        (SLURM, "trainer.devices=1", "trainer.devices=2"),
        (SLURM | {"SLURM_NNODES": "2"}, "trainer.devices=2 trainer.num_nodes=1", "2 tasks on 2 nodes"),
        (SLURM, "trainer.devices=2", ""),
        (SLURM | {"SLURM_NNODES": "2"}, "trainer.devices=1 trainer.num_nodes=2", ""),
        (SLURM | {"TORCHELASTIC_RUN_ID": "x"}, "trainer.devices=4", ""),
        (SLURM | {"SLURM_JOB_NAME": "bash"}, "trainer.devices=1", ""),
    ],
)
def test_tasks_of_slurm_are_devices(environment, words, hint, monkeypatch, checked):
    for name, value in environment.items():
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


COLD = {
    "train arch=resnt50": "resnet50",
    "train arch.variant=modrn": "modern, 1998",
    "train trainer.precision=bf17": "bf16-mixed",
    "train callbacks=early_stopping callbacks.early_stopping.patience=soon": "a whole number",
    "train pretrained=nothing.pth": "no such file",
    "train -m recipe.lr=0.1,-1 run=sweep": "recipe.lr=-1",
    "train -m seed=0,-1": "seed=-1",  # a sweep without a name
    "train -m hydra/launcher=basic recipe.warmup_epochs=0,99 run=sweep": "recipe.warmup_epochs=99",
    "evaluate run=nothing": "holds no run",
    "describe recipe.lr=1": "does not read",
}


@pytest.mark.parametrize(("words", "hint"), COLD.items())
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


EXPLAINED = {
    "recipe.lamb_clip": "recipe.lamb_clip=0\n    a number, at least 0 and at most 1,000,000,000\n    LAMB only: bound",
    "lamb_clip": "recipe.lamb_clip=0\n",
    "recipe.lamb_clip recipe=rsb_a2": "recipe.lamb_clip=1\n",
    "arch.stem arch=resnet50 datamodule=cifar10": "arch.stem=cifar\n    one of imagenet, cifar\n    imagenet: 7x7/2",
    "trainer.graph": "trainer.graph=auto\n    true or false or auto\n    a micro-batch's passes as one CUDA graph",
    "datamodule.val_size": "datamodule.val_size=180\n    a whole number, at least 0\n    training images held out",
    "recipe.crop_scale": "'recipe.crop_scale=[]'\n    a list, [1, 2], each a number, above 0 and at most 8,192\n    ",
    "trainer": "  auto                  What the machine has",
}


@pytest.mark.parametrize(("words", "text"), EXPLAINED.items())
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


IGNORED = [
    {"nesterov": True, "optimizer": "lamb"}, {"bce_threshold": 0.2}, {"crop": "rrc"}, {"crop": "none"},
    {"schedule": "cosine"}, {"schedule": "step", "decay_epochs": [1.0, 2.0]}, {"ema": 0.9, "swa": 2},
    {"lamb_clip": 1.0}, {"warmup_epochs": 100.0}, {"eps": 1e-3}, {"swa": 100}, {"warmup_lr": 0.1},
    {"crop_padding_mode": "none"}, {"label_smoothing": 1.5}, {"rand_augment": "rand-m7", "auto_augment": "v0"},
]  # fmt: skip


@pytest.mark.parametrize("change", IGNORED)
def test_settings_that_would_be_ignored_are_refused(change):
    with pytest.raises(RecipeError, match="recipe."):
        recipe_of("sgd_step", **change).check()


class FromAfar(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (OSError(28, "No space left on device", "/x/y"), "/x/y: no space left"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "trainer.max_per_device"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "max_per_device"),
        (
            RuntimeError(
                "Early stopping conditioned on metric `foo` which is not available. Pass in or modify your "
                "`EarlyStopping` callback to use any of the following: `val_top1`, `train_loss`"
            ),
            "monitor=foo: there is no such metric. There is `val_top1`, `train_loss`.",
        ),
        (ValueError("Expected more than 1 value per channel when training, got input size [1, 8, 1, 1]"), "drop_last"),
        (ValueError("SyncBatchNorm layers only work with GPU modules"), "trainer.sync_batchnorm"),
        (RuntimeError("Function 'LogSoftmaxBackward0' returned nan values in its 0th output."), "from LogSoftmax"),
        (FromAfar("InvalidCxxCompiler: No working C++ compiler found in"), "C++ compiler"),
        (RuntimeError("CUDA error: operation not permitted when stream is capturing"), "trainer.graph=false"),
    ],
)
def test_what_libraries_say_in_their_words(error, hint):
    assert hint in errors.user_sentence(error)
    assert errors.user_sentence(FromAfar("a fault of the program")) is None


def test_hydra_is_left_as_it_was():
    assert not HydraConfig.initialized()


def test_a_limit_of_no_time_is_one():
    assert Stop(max_time=0, timeout_s=1, console=Console(), name="x").deadline is not None  # 0 is YAML's number

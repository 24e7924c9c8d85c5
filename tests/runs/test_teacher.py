"""The run that a distillation learns from: found once, known again, shown images by its own mean."""

import pytest
import torch
from doors import command, finished, mistake, refused
from torch import nn

from lineage.recipes.distillation import Teacher

SHORT = (
    "arch=lenet5 recipe.epochs=2 recipe.decay_epochs=[1] trainer=cpu trainer.limit_train_batches=2 "
    "trainer.limit_val_batches=1 trainer.limit_test_batches=1 datamodule.workers=0"
).split()
DISTILL = ["recipe.distill=soft", "recipe.distill_share=0.5", "recipe.distill_temperature=3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    for seed in (0, 1):
        finished(folder, "train", *SHORT, f"run=school-{seed}", f"seed={seed}")
    return folder


def test_a_name_is_that_of_the_beginning(folder):
    """The student's own name begins like the teacher's; and another run that does comes between stop and resume."""
    words = [*SHORT, *DISTILL, "run=school-0-student", "teacher=school-0"]
    stopped = command(folder, "train", *words, "trainer.max_time=0")
    assert stopped.returncode == 124, stopped.stderr
    finished(folder, "train", *SHORT, "run=school-0-other", "seed=2")
    assert "teacher    school-0, soft" in finished(folder, "train", *words[:-1], "teacher=school").stdout
    finished(folder, "train", "-m", *SHORT, *DISTILL, "run=school-1-sweep", "teacher=school-1", "seed=1")


def test_other_weights_are_noticed(folder):
    words = [*SHORT, *DISTILL, "run=student", "teacher=school-1"]
    assert command(folder, "train", *words, "trainer.max_time=0").returncode == 124
    mine, others = (folder / "runs" / f"school-{seed}" / "checkpoints" / "last.ckpt" for seed in (1, 0))
    kept = mine.read_bytes()
    mine.write_bytes(others.read_bytes())
    assert "no longer those that this run began with" in refused(folder, "train", *words)
    mine.write_bytes(kept)
    finished(folder, "train", *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("teacher=school-1 datamodule=synthetic datamodule.resolution=32 datamodule.num_classes=12",
         "teacher=school-1 was trained on 10 classes, and these data have 12."),
        ("teacher=school-1 datamodule=synthetic datamodule.resolution=32 datamodule.num_classes=10",
         "teacher=school-1 was trained on 1 channels, and these data have 3."),
        ("teacher=me run=me", "teacher=me: name another run, or a network as teacher=timm/resnet50."),
        ("teacher=school", "teacher=school is the beginning of"),
        ("teacher=", "name another run"),
        ("teacher=cut", "teacher=cut: it has saved no weights yet."),
    ],
)  # fmt: skip
def test_what_teaches_nobody(folder, words, said):
    (folder / "runs" / "cut").mkdir(exist_ok=True)
    config = (folder / "runs" / "school-0" / "config.yaml").read_bytes()
    (folder / "runs" / "cut" / "config.yaml").write_bytes(config)
    assert said in mistake(folder, "train", *SHORT, *DISTILL, "run=pupil", *words.split())
    assert not (folder / "runs" / "pupil").exists()


def test_a_teacher_sees_images_by_its_own_mean():
    images = torch.rand(4, 3, 8, 8)
    own, student = ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]), ([0.1, 0.2, 0.3], [0.9, 0.8, 0.7])

    def normalised(pair):
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in pair)
        return (images - mean) / std

    shown = Teacher(nn.Identity(), own, student)(normalised(student))
    torch.testing.assert_close(shown, normalised(own))
    assert torch.equal(Teacher(nn.Identity(), own, own)(images), images)

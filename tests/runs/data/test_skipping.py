"""A folder with unreadable images: a run that ends and names the first, and one that leaves them out."""

import torch
from doors import command, finished, refused, results
from runs.pictures import write_folders

from lineage.running.checkpoints import read


def test_images_that_any_rank_left_out_are_known_after_a_stop(tmp_path):
    """In one step over all images, and then the test."""
    write_folders(tmp_path / "data", count=6)
    bad = [tmp_path / "data" / "train" / name / f"{i}.jpeg" for name in ("ant", "bee") for i in (1, 4)]
    for path in bad:
        path.write_bytes(b"<html>not found</html>")
    words = [
        "arch=lenet5", "arch.in_channels=3", "datamodule=imagefolder", "datamodule.root=data", "recipe.epochs=1",
        "recipe.decay_epochs=[0.5]", "recipe.batch_size=12", "recipe.train_res=32", "recipe.test_res=32", "logger=none",
        "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "datamodule.on_error=skip",
    ]  # fmt: skip
    done = command(tmp_path, "train", *words, "datamodule.max_errors=3", "run=few")
    assert done.returncode == 1 and "4 images cannot be read, more than datamodule.max_errors=3" in done.stderr
    words += ["datamodule.max_errors=4", "run=all"]
    assert command(tmp_path, "train", *words, "trainer.max_time=0").returncode == 124
    finished(tmp_path, "train", *words)
    assert len(results(tmp_path / "runs" / "all")["skipped"]) == 4


def test_images_that_cannot_be_read(tmp_path):
    write_folders(tmp_path / "data", count=6)
    whole = (tmp_path / "data" / "val" / "bee" / "4.jpeg").read_bytes()
    (tmp_path / "data" / "val" / "bee" / "4.jpeg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "data" / "train" / "ant" / "3.jpeg").write_bytes(b"<html>not found</html>")
    words = [
        "arch=resnet18", "arch.widths=[8,8,16,16]", "datamodule=imagefolder", f"datamodule.root={tmp_path / 'data'}",
        "recipe.epochs=2", "recipe.decay_epochs=[1]", "recipe.batch_size=8", "recipe.train_res=32",
        "recipe.test_res=32", "logger=none",
    ]  # fmt: skip
    assert "ant/3.jpeg cannot be read as an image" in refused(tmp_path, "train", *words, "trainer=cpu", "run=fail")

    skip = ["datamodule.on_error=skip", "datamodule.max_errors=2"]
    for machine in ("trainer=cpu",), ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"):
        done = finished(tmp_path, "train", *words, *machine, *skip, f"run={len(machine)}")
        assert "2 images that cannot be read" in done.stdout
        skipped = results(tmp_path / "runs" / str(len(machine)))["skipped"]
        assert sorted(skipped) == ["train/ant/3.jpeg", "val/bee/4.jpeg"]
        assert "truncated" in " ".join(skipped.values())

    lenet = ("arch=lenet5", "arch.in_channels=3", "recipe.train_res=32")
    for size in (8, 3):  # the step is the same in other micro-batches, of unequal size
        machine = ("trainer=cpu", f"trainer.max_per_device={size}", f"run=by{size}")
        finished(tmp_path, "train", *lenet, *words[2:], *machine, *skip)
    one, two = (read(tmp_path / "runs" / f"by{size}" / "checkpoints" / "last.ckpt")["state_dict"] for size in (8, 3))
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in one)

    done = command(tmp_path, "train", *words, "trainer=cpu", *skip[:1], "datamodule.max_errors=0", "run=few")
    assert done.returncode == 1 and "more than datamodule.max_errors=0" in done.stderr

    # A run that an image ended continues if more may be left out, in a folder that was moved, or after a repair.
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = [word.replace(str(tmp_path / "data"), str(tmp_path / "moved")) for word in words]
    finished(tmp_path, "train", *moved, "trainer=cpu", *skip, "run=few")
    assert len(results(tmp_path / "runs" / "few")["skipped"]) == 2
    (tmp_path / "moved" / "val" / "bee" / "4.jpeg").write_bytes(whole)
    (tmp_path / "moved" / "train" / "ant" / "3.jpeg").write_bytes(whole)
    finished(tmp_path, "train", *moved, "trainer=cpu", "run=fail")
    assert not results(tmp_path / "runs" / "fail")["skipped"]

"""Times, saves and stops of a run, by a clock that the tests hand in."""

import io
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from lineage.errors import Stopped
from lineage.reporting import clock, metric_rows
from lineage.running import checkpoints, process, stopping
from lineage.running.checkpoints import Checkpoints
from lineage.running.stopping import Stop


@pytest.fixture(autouse=True)
def now(monkeypatch):
    """What every clock of a run shows, in seconds."""
    now = SimpleNamespace(seconds=1000.0)
    for module in (clock, checkpoints, stopping, metric_rows):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    monkeypatch.setattr(stopping, "handle", lambda handler: {})
    monkeypatch.setattr(process, "heard", [])
    return now


def trainer_of(saving: Checkpoints, **changes: Any) -> Any:
    """What the callbacks see of a trainer. A checkpoint's file holds its step."""
    trainer = SimpleNamespace(
        world_size=1, is_global_zero=True, global_step=0, current_epoch=0, max_epochs=99, is_last_batch=False,
        should_stop=False, checkpoint_callback=saving, callback_metrics={},
    )  # fmt: skip

    def write(content: str, path: Path) -> None:
        path.unlink(missing_ok=True)  # a new file, as the real ones are: the old one may have a second name
        path.write_text(content)

    def save(path: Path, weights_only: bool, storage_options: Any = None) -> None:
        step = str(trainer.global_step)
        write(step, path) if storage_options is None else storage_options.append(step)

    trainer.save_checkpoint, trainer.strategy = save, SimpleNamespace(save_checkpoint=write)
    trainer.__dict__.update(changes)
    return trainer


def stop_of(max_time: str | None = None) -> Stop:
    return Stop(max_time, 60, Console(file=io.StringIO()), "a")


def files(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.iterdir()}


def test_training_is_counted_once_without_validation_and_on_all_devices(now):
    trainer, batches, counted = SimpleNamespace(world_size=2), SimpleNamespace(images=32), clock.Clock()

    def train(seconds: float) -> None:
        now.seconds += seconds
        counted.on_train_batch_end(trainer, None, None, batches)

    now.seconds += 7  # until the first step
    counted.on_train_start(trainer, None)
    train(2)
    now.seconds += 8
    counted.on_validation_end(trainer, None)
    train(1)
    assert counted.images_per_second == 128 / 3
    assert [counted.count(), counted.count()] == [11, 11]
    counted.on_train_epoch_end(trainer, None)
    now.seconds += 5
    counted.on_train_epoch_start(trainer, None)
    train(4)
    assert counted.epoch_speed == 64 / 4
    state = counted.state_dict()
    assert state == {"seconds": 20, "training_seconds": 7, "images": 192, "steps": 3, "epochs": 1}
    now.seconds += 1000  # until the same command goes on
    again = clock.Clock()
    again.load_state_dict(state)
    again.on_train_start(trainer, None)
    now.seconds += 6
    assert again.count() == 26


@pytest.mark.parametrize(
    ("minutes", "steps", "expected"),
    [(1, 0, [2, 4, 6, 8]), (0, 3, [3, 6]), (0, 0, []), (1, 3, [2, 3, 5, 6, 8])],
)
def test_steps_of_half_a_minute_are_saved_when_they_are_due(now, tmp_path, minutes, steps, expected):
    saving, stop, saved = Checkpoints(tmp_path, minutes, steps, {}), stop_of(), []
    trainer = trainer_of(saving, save_checkpoint=lambda *_, **__: saved.append(trainer.global_step))
    stop.on_train_start(trainer, None)
    for trainer.global_step in range(1, 9):
        now.seconds += 30
        stop.on_train_batch_end(trainer, None)
    assert saved == expected


@pytest.mark.parametrize(
    ("seconds", "steps", "is_saved"), [(9.9, 0, False), (10, 0, True), (1, 7, True), (1, 2, False)]
)
def test_an_epoch_of_ten_seconds_is_saved(now, tmp_path, seconds, steps, is_saved):
    saving, stop = Checkpoints(tmp_path, 10, steps, {}), stop_of()
    trainer = trainer_of(saving, global_step=7, is_last_batch=True)
    stop.on_train_start(trainer, None)
    now.seconds += seconds
    stop.on_train_batch_end(trainer, None)
    assert files(tmp_path) == {}  # before its metrics are known
    saving.on_train_epoch_end(trainer, None)
    assert files(tmp_path) == ({"last": "7"} if is_saved else {})


@pytest.mark.parametrize(
    ("max_time", "seconds"), [("45", 45), ("2:00", 120), ("01:00:00", 3600), ("1:12:00:00", 36 * 3600)]
)
def test_a_run_stops_when_its_time_is_up(now, tmp_path, max_time, seconds):
    saving, stop = Checkpoints(tmp_path, 0, 0, {}), stop_of(max_time)
    trainer = trainer_of(saving, global_step=1)
    stop.on_train_start(trainer, None)
    now.seconds += seconds
    stop.on_train_batch_end(trainer, None)
    trainer.global_step, now.seconds = 2, now.seconds + 1
    with pytest.raises(Stopped, match=f"max_time={max_time} at step 2, saved. .*run=a continues") as stopped:
        stop.on_train_batch_end(trainer, None)
    assert stopped.value.status == 124 and files(tmp_path) == {"last": "2"}


@pytest.mark.parametrize(("saved_step", "stops"), [(5, True), (4, False)])
def test_a_signal_between_two_epochs_stops_where_the_last_one_was_saved(tmp_path, saved_step, stops):
    saving, stop = Checkpoints(tmp_path, 0, 0, {}), stop_of()
    trainer = trainer_of(saving, global_step=5)
    stop.on_train_start(trainer, None)
    saving.saved_step, stop.received = saved_step, 128 + signal.SIGTERM
    try:
        stop.on_train_epoch_start(trainer, None)
    except Stopped as error:
        assert stops and error.status == 143
    else:
        assert not stops and stop.agreed == 143


@pytest.mark.parametrize(("number", "exits"), [(signal.SIGINT, [130]), (signal.SIGTERM, [])])
def test_a_second_ctrl_c_ends_the_process(monkeypatch, number, exits):
    """SIGTERM may come twice: a scheduler sends it to all, and torchrun passes it on."""
    stop, found, received = stop_of(), [], []
    monkeypatch.setattr("os._exit", found.append)
    stop.is_first = False
    for _ in range(2):
        stop._on_signal(number, None)
        received.append((stop.received, len(found)))
    assert received == [(128 + number, 0), (128 + number, len(exits))] and found == exits


@pytest.mark.parametrize(
    ("number", "variables", "preempted", "asked"),
    [
        (signal.SIGUSR1, {"SLURM_JOB_ID": "43"}, "None", [("requeue", "43")]),
        (signal.SIGUSR2, {"SLURM_JOB_ID": "43", "SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": "3"}, "None",
         [("requeue", "40_3")]),
        (signal.SIGTERM, {"SLURM_JOB_ID": "43"}, "None", [("show", "job", "43")]),
        (signal.SIGTERM, {"SLURM_JOB_ID": "43"}, "2026-11-30", [("show", "job", "43"), ("requeue", "43")]),
        (signal.SIGINT, {"SLURM_JOB_ID": "43"}, "None", []),
        (signal.SIGUSR1, {}, "None", []),
    ],
)  # fmt: skip
def test_which_job_is_requeued(monkeypatch, number, variables, preempted, asked):
    found = []
    monkeypatch.setattr(process, "_scontrol", lambda *words: found.append(words) or f"PreemptTime={preempted}")
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert process.requeue(number) == (f"Requeued job {asked[-1][1]}." if "requeue" in str(asked) else "")
    assert found == asked


def test_the_best_epoch_is_written_before_the_last_one(tmp_path):
    """Of epochs that end too soon to be saved the best is kept in memory; a failed save leaves the last file."""
    saving = Checkpoints(tmp_path, 0, 0, {})
    trainer = trainer_of(saving)
    for epoch, (top1, must_be_saved) in enumerate([(0.5, True), (0.7, False), (0.8, False), (0.6, True)]):
        saving.epoch_must_be_saved, trainer.callback_metrics = must_be_saved, {"val_top1": top1}
        trainer.current_epoch, trainer.global_step = epoch, 10 * (epoch + 1)
        saving.on_train_epoch_end(trainer, None)
        assert files(tmp_path)["best"] == ("30" if epoch == 3 else "10")
    assert files(tmp_path) == {"last": "40", "previous": "10", "best": "30"}
    assert saving.state_dict() == {"best": 0.8, "best_step": 30} and saving.saved_step == 40

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    trainer.save_checkpoint, trainer.global_step = fail, 50
    with pytest.raises(OSError):
        saving.save(trainer)
    assert files(tmp_path)["last"] == "40" and saving.saved_step == 40


def test_the_last_epoch_is_saved_and_only_rank_0_names_files(tmp_path):
    saving, first = Checkpoints(tmp_path, 0, 0, {}), Checkpoints(tmp_path, 0, 0, {})
    trainer = trainer_of(saving, global_step=7, max_epochs=1, callback_metrics={"val_top1": 0.5})
    saving.epoch_must_be_saved, trainer.is_global_zero = False, False
    (tmp_path / "last.ckpt").write_text("3")
    saving.on_train_epoch_end(trainer, None)
    assert files(tmp_path) == {"last": "7"}
    trainer.is_global_zero, trainer.max_epochs, trainer.should_stop = True, 2, True
    first.epoch_must_be_saved = False
    first.on_train_epoch_end(trainer, None)
    assert files(tmp_path) == {"last": "7", "previous": "7", "best": "7"}

"""What a run prints: the table of epochs, a line a minute, tables whose paths are whole."""

import io
import logging
from types import SimpleNamespace

import pytest
from rich.console import Console

from lineage.anatomy.report import tabulate
from lineage.errors import UserError
from lineage.reporting import metric_rows
from lineage.reporting.metric_rows import HEAD, MetricRows, chart_names
from lineage.reporting.screen import show_notes, show_rows, show_table
from lineage.text import duration


def printed(terminal: bool, width: int = 72) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)


@pytest.mark.parametrize(
    ("terminal", "wait", "minutes"), [(False, 0, 2), (True, 0, 0), (False, 60, 0)], ids=["log", "terminal", "short"]
)
def test_an_epoch_is_a_row_and_a_long_one_has_lines_in_a_log(monkeypatch, caplog, terminal, wait, minutes):
    monkeypatch.setattr(metric_rows, "LINE_S", wait)
    best = SimpleNamespace(improves=lambda metrics: metrics["val_top1"] > 0.5)
    trainer = SimpleNamespace(
        loggers=[], current_epoch=99, max_epochs=300, num_training_batches=3, global_step=300, is_global_zero=True,
        callback_metrics={"val_loss": 10.5, "val_top1": 0.75}, checkpoint_callback=best,
        optimizers=[SimpleNamespace(param_groups=[{"lr": 1.2345e-05}])],
    )  # fmt: skip
    module = SimpleNamespace(train_metrics={"train_loss": 12.25}, running_loss=lambda: 2.5)
    clock = SimpleNamespace(epoch_speed=123456.0, steps=300, count=lambda: 100 * 360.0)
    out = printed(terminal)
    rows = MetricRows(out, clock)
    with caplog.at_level(logging.INFO):
        for step in range(3):
            trainer.is_last_batch = step == 2
            rows.on_train_batch_end(trainer, module, None, None, step)
        rows.on_validation_end(trainer, module)
        rows.on_train_epoch_end(trainer, module)
        rows.on_train_epoch_end(trainer, module)
    *within, first, second, row, again = out.file.getvalue().splitlines()
    assert (first, second) == HEAD and len(within) == minutes and max(map(len, (*HEAD, row))) <= 72
    assert row.split() == "epoch 100/300 1.23e-05 12.2500 - 10.5000 0.7500 * 123,456 20.0 h".split()
    assert again.split()[5:7] == ["-", "-"]  # without validation
    if minutes:
        assert within[0] == "epoch 100/300  step 1 of 3  loss 2.5000  123,456 images/s, 20.1 h left"
    assert ("step 1 of 3" in caplog.text) == (wait == 0)  # train.log has them also beside a terminal


class Told:
    """A logger that keeps its rows, and fails with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.rows, self.error = [], error

    def log_metrics(self, row, step):
        self.rows.append((step, row))
        if self.error:
            raise self.error


def test_rows_reach_every_logger_though_one_fails():
    failing, told, full = Told(OSError("no network")), Told(), Told(UserError("the disk is full"))
    trainer = SimpleNamespace(
        loggers=[failing, told], current_epoch=0, max_epochs=2, num_training_batches=5, log_every_n_steps=2,
        is_global_zero=False, is_last_batch=False, callback_metrics={}, checkpoint_callback=None,
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.5}])],
    )  # fmt: skip
    module = SimpleNamespace(train_metrics={"train_loss": 1.5}, step_loss=lambda: 2.5)
    clock, out = SimpleNamespace(epoch_speed=7.0, steps=5, count=lambda: 9.0), printed(False, 200)
    rows = MetricRows(out, clock)
    for trainer.global_step in range(1, 6):
        rows.on_train_batch_end(trainer, module, None, None, 0)
    rows.on_train_epoch_end(trainer, module)
    step = {"loss/step": 2.5, "schedule/lr": 0.5}
    epoch = {"schedule/epoch": 1, "schedule/lr": 0.5, "loss/train": 1.5}
    times = {"speed/images_per_second": 7.0, "speed/seconds": 9.0}
    assert told.rows == failing.rows == [(2, step), (4, step), (5, epoch | times)]
    assert out.file.getvalue() == "Told failed (no network); the run goes on.\n"  # the table is rank 0's
    trainer.loggers = [full]
    with pytest.raises(UserError, match="the disk is full"):  # metrics.csv's
        rows.write(trainer, {"lr": 0.5})


def test_names_of_charts():
    row = {"train_loss": 1.0, "val_top1": 2.0, "lr": 3.0, "test_top1": 4.0, "val_top5": 5.0, "my_val_x": 6.0}
    assert list(chart_names(row)) == ["loss/train", "top1/val", "schedule/lr", "test_top1", "top5/val", "my_val_x"]
    averaged = chart_names({"val_top1": 1.0, "val_raw_top1": 2.0})
    assert averaged == {"top1/average": 1.0, "top1/val": 2.0}


def test_durations_take_six_letters():
    seconds = (0, 59.4, 59.6, 3599, 3600, 86399, 86400, 10 * 86400)
    assert [duration(number) for number in seconds] == "0 s,59 s,1 min,60 min,1.0 h,24.0 h,1.0 d,10.0 d".split(",")


@pytest.mark.parametrize("width", [72, 80, 120])
def test_tables_break_between_words_alone(width):
    path, out = "runs/" + "a-long-name/" * 12, printed(True, width)
    show_rows(out, {"data": "one two three " * 12, "run": path})
    show_table(out, ("no.", "job"), [("1", path), ("10", "b")])
    show_notes(out, [f"the folder {path} is not read"])
    lines = [line.rstrip() for line in out.file.getvalue().splitlines()]
    assert f"run   {path}" in lines and f"  1  {path}" in lines and " 10  b" in lines and path in lines
    assert all(len(line) <= width for line in lines if path not in line)
    assert " ".join(lines[:-7]).split() == ["data", *("one two three " * 12).split()]


def test_operators_stand_whole_at_80_columns():
    from conftest import composed

    from lineage import assemble
    from lineage.anatomy.table import dissect

    network = assemble.network(composed("arch=resnet50", "datamodule=imagenet"), device="meta")
    for width in (80, 120):
        lines = [line.plain for line in tabulate(dissect(network, 3, 224), width)]
        assert max(map(len, lines)) <= width and "    [1x1, 256; 3x3, 256; 1x1, 1024] x 6" in lines
        assert lines[0].split()[:2] == ["stage", "output" if width == 80 else "input"]

"""What TensorBoard, wandb and another logger are told, read back from their files."""

import json
import struct

import pytest
from doors import finished, results
from runs.states import SHORT
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from lineage.reporting.dashboards import TensorBoard, Wandb

CURVES = {"loss/train", "loss/val", "top1/train", "top1/val", "schedule/lr", "speed/images_per_second"}
AT_THE_END = {"test_top1", "best_val_top1"}
IMAGES = {"images of the first step", "test/confusion", "test/most confidently wrong"}
WORDS = (*SHORT[:-1], "trainer.log_every_n_steps=5")  # SHORT ends with its logger


def test_tensorboard_compares_the_jobs_of_a_sweep(tmp_path):
    runs, jobs = tmp_path / "runs", {"grid/recipe.ema-0": 0, "grid/recipe.ema-0.9": 0.9}
    finished(tmp_path, "train", "-m", *WORDS, "recipe.ema=0,0.9", "seed=1", "run=grid")
    files = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(runs))
    assert set(files.Runs()) == set(jobs)
    provider = data_provider.MultiplexerDataProvider(files.Reload() or files, str(runs))
    request = api_pb2.ListSessionGroupsRequest(slice_size=100, allowed_statuses=[0, 1, 2, 3])
    context = Context(TBContext(data_provider=provider))
    shown = list_session_groups.Handler(RequestContext(), context, "", request).run().session_groups
    assert {group.name: group.hparams["recipe.ema"].number_value for group in shown} == jobs
    for group in shown:
        told, found = {v.name.tag: v.value for v in group.metric_values}, results(runs / group.name)
        assert {name: told[name] for name in AT_THE_END} == {name: pytest.approx(found[name]) for name in AT_THE_END}
        assert group.hparams["arch"].string_value == "lenet5"
        events = EventAccumulator(str(runs / group.name), size_guidance={"images": 0}).Reload()
        averaged = {"top1/average"} if jobs[group.name] else set()
        assert set(events.Tags()["scalars"]) >= CURVES | AT_THE_END | averaged
        assert set(events.Tags()["images"]) == IMAGES and "custom_scalars__config__" in events.Tags()["tensors"]
        (command,) = events.Tensors("command/text_summary")
        assert b"train.py" in command.tensor_proto.string_val[0]
        assert {"plan/text_summary", "notes/text_summary"} <= set(events.Tags()["tensors"])


def wandb_records(path) -> list:
    """What a .wandb file holds: blocks of 32 KiB as in LevelDB's log, parts of 7 bytes of head each."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole, found = path.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        whole, at = whole + content[at + 7 : at + 7 + size], at + 7 + size
        if kind in (1, 4):  # complete, or the last part
            found, whole = [*found, Record.FromString(whole)], b""
    return found


def test_wandb_is_offline_without_a_key(tmp_path):
    environment, runs = {"WANDB_API_KEY": "", "HOME": str(tmp_path), "WANDB_SILENT": "true"}, tmp_path / "runs"
    words = (*WORDS, "logger=wandb", "logger.wandb.tags=[x,y]", "logger.wandb.log_model=best")
    assert "no key" in finished(tmp_path, "train", *words, "run=w", **environment).stdout
    (first,) = (runs / "w" / "wandb").glob("offline-run-*")
    told, found = wandb_records(next(first.glob("*.wandb"))), results(runs / "w")
    run, config = next(one.run for one in told if one.run.run_id), {}
    assert (run.project, run.job_type, run.display_name, list(run.tags)) == ("lineage", "train", "w", ["x", "y"])
    summary, history = {}, set()
    for one in told:
        config |= {item.key: json.loads(item.value_json) for item in one.config.update}
        summary |= {item.key: json.loads(item.value_json) for item in one.summary.update if item.key}
        history |= {item.key or item.nested_key[0] for item in one.history.item}
    assert config["arch"] == "lenet5" and config["recipe.batch_size"] == 128
    assert {name: summary[name] for name in (*AT_THE_END, "macs")} == {n: found[n] for n in (*AT_THE_END, "macs")}
    assert history >= CURVES | IMAGES | {"loss/step"}
    assert {one.artifact.type for one in told if one.artifact.type} == {"model", "run_table"}
    (table,) = (first / "files" / "media" / "table").glob("predictions*")
    assert len(json.loads(table.read_text())["data"]) == 360


@pytest.mark.parametrize(
    ("agent", "earlier", "expected"),
    [("of-the-agent", [], "of-the-agent"), ("", ["offline-run-2-kept", "run-3-later"], "kept"), ("", [], None)],
)
def test_a_run_of_wandb_is_known_again(tmp_path, monkeypatch, agent, earlier, expected):
    """By its agent's id, in a folder that was moved too; the group is the sweep."""
    monkeypatch.setenv("WANDB_RUN_ID", agent)
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "sweep.jsonl").touch()
    for name in earlier:
        (tmp_path / "job" / "wandb" / name).mkdir(parents=True)
    rest = dict.fromkeys(("entity", "group", "job_type", "notes"))
    one, other = (Wandb(str(tmp_path / "job"), "p", name=name, tags=[], log_model="none", **rest) for name in "ab")
    assert one.version == other.version == (expected or one.version) and len(one.version) < 17
    assert one._wandb_init["group"] == tmp_path.name


def logged(folder, steps, value: float, keep: int | None = None) -> list[tuple[int, float]]:
    """Log steps, after those up to `keep` of an earlier start; all that TensorBoard shows of the folder then."""
    logger = TensorBoard(str(folder), name="", version="")
    if keep is not None:
        logger.keep_until(keep)
    for step in steps:
        logger.log_metrics({"loss": value}, step=step)
    logger.finalize("success")
    return [(event.step, event.value) for event in EventAccumulator(str(folder)).Reload().Scalars("loss")]


@pytest.mark.parametrize("put_back", [False, True])
def test_steps_after_the_saved_one_are_hidden(tmp_path, put_back):
    """Also where the clock was put back: TensorBoard reads files in the order of their names, which begin with the
    time."""
    before = logged(tmp_path, range(1, 6), 0)
    if put_back:
        (file,) = tmp_path.glob("events.*")
        file.rename(file.with_name("events.out.tfevents.9999999999.a.host.1.0"))
    assert logged(tmp_path, range(4, 7), 3, keep=3) == [*before[:3], (4, 3), (5, 3), (6, 3)]
    events = (event for file in sorted(tmp_path.glob("events.*")) for event in EventFileLoader(str(file)).Load())
    assert [event.step for event in events if event.HasField("session_log")] == [4]  # once, where training goes on


OTHER = """
import json
from pytorch_lightning.loggers import Logger
class Lines(Logger):
    name, version = "lines", ""
    def log_hyperparams(self, params):
        self.log_metrics(params)
    def log_metrics(self, metrics, step=None):
        with open("lines", "a") as file:
            file.write(json.dumps(metrics) + chr(10))
"""


def test_another_logger_gets_the_same(tmp_path):
    (tmp_path / "other.py").write_text(OTHER)
    words = (*WORDS, "run=a", "logger=none", "+logger.lines._target_=other.Lines")
    finished(tmp_path, "train", *words, PYTHONPATH=str(tmp_path))
    parameters, *told = map(json.loads, (tmp_path / "lines").read_text().splitlines())
    assert parameters["arch"] == "lenet5" and parameters["recipe.batch_size"] == 128 and parameters["seed"] == 0
    assert {name for row in told for name in row} >= CURVES | AT_THE_END | {"loss/step"}
    assert told[-1]["test_top1"] == results(tmp_path / "runs" / "a")["test_top1"]

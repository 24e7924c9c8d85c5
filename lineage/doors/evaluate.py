"""Evaluate a run or released weights: python evaluate.py run=NAME split=test"""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.config.derived import eval_preprocessing, saved_weights
from lineage.config.overrides import key_of
from lineage.config.saved_run import with_runs
from lineage.doors import door
from lineage.running.parent import follow_parent
from lineage.running.process import loading
from lineage.sweeps.jobs import find_run

# Keys that do not change the result, or that the record's name says otherwise.
SAME_RESULT = ("run", "runs", "split", "checkpoint", "plugins", "trainer", "soup")


@door
def run(cfg: DictConfig) -> dict[str, float]:
    cfgs = with_runs(cfg)
    for one in cfgs:
        checks(one)
    cfgs = [complete(one) for one in cfgs]
    follow_parent()

    with loading():
        from lineage import assemble
        from lineage.analysis.record import summary
        from lineage.reporting.notes import class_notes
        from lineage.reporting.progress_bar import RunProgressBar
        from lineage.reporting.screen import console, show_plan
        from lineage.running import evaluations
        from lineage.running.directory import is_main_process
        from lineage.running.ranks import Ranks

    cfg, out = cfgs[0], console(quiet=not is_main_process())
    network = evaluations.combined([assemble.network(one, weights=True, new_head=False) for one in cfgs], cfg.soup)
    callbacks = [
        Ranks(cfg.trainer.timeout_s),
        RunProgressBar(out),
        *([evaluations.NewStatistics()] if cfg.soup else ()),
    ]
    trainer = assemble.trainer(cfg, network, callbacks=callbacks)
    data = assemble.data(cfg, only_test=not cfg.soup)
    evaluator = (assemble.classifier if cfg.soup else assemble.evaluator)(cfg, network, data, trainer)
    data.test = getattr(data, cfg.split)
    words = [word for word in HydraConfig.get().overrides.task if key_of(word).split(".")[0] not in SAME_RESULT]
    preprocessing, weights = eval_preprocessing(cfg), cfg.checkpoint or str(cfg.pretrained)
    record = evaluations.test(trainer, evaluator, data, preprocessing, split=cfg.split, weights=weights, differs=words)
    if isinstance(cfg.run, str) and len(cfgs) == 1 and is_main_process():
        record.write_below(find_run(Path(cfg.runs), cfg.run))
    of_all = f" of {len(data.test):,}" if len(record) < len(data.test) else ""
    rows = {
        "weights": ", ".join(str(one.pretrained) for one in cfgs),
        "data": f"{len(record):,}{of_all} images of split {cfg.split}, {preprocessing.size}",
        **{name: f"{value:.6f}" for name, value in record.metrics.items()},
        **summary(record),
    }
    if skipped := data.left_out():
        rows["left out"] = f"{len(skipped):,} images that cannot be read: {', '.join(sorted(skipped)[:3])}"
    known = class_notes((saved := saved_weights(cfg)) and saved.classes, data.class_names())
    show_plan(out, rows, [*getattr(network, "notes", ()), *data.notes, *known])
    return dict(record.metrics)

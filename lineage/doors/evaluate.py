"""Evaluate a run or released weights: python evaluate.py run=NAME split=test"""

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete, with_run
from lineage.config.derived import eval_preprocessing
from lineage.doors import door
from lineage.errors import UserError
from lineage.running.parent import follow_parent
from lineage.running.process import loading


@door
def run(cfg: DictConfig) -> None:
    cfg = with_run(cfg)
    checks(cfg)
    cfg = complete(cfg)
    follow_parent()

    with loading():
        from lineage import assemble
        from lineage.reporting.notes import class_notes
        from lineage.reporting.progress_bar import RunProgressBar
        from lineage.reporting.screen import console, show_plan
        from lineage.running.directory import is_main_process
        from lineage.running.ranks import Ranks

    network = assemble.network(cfg, weights=True, new_head=False)
    out = console(quiet=not is_main_process())
    callbacks = [Ranks(cfg.trainer.timeout_s), RunProgressBar(out)]
    trainer = assemble.trainer(cfg, network, callbacks=callbacks)
    data = assemble.data(cfg, share=trainer.world_size > 1, only_test=True)
    evaluator = assemble.evaluator(cfg, network, data, trainer)
    data.test = getattr(data, cfg.split)
    if not len(data.test):
        raise UserError(f"split={cfg.split}: there are no such images.")

    trainer.test(evaluator, datamodule=data, verbose=False)
    batches = int(sum(trainer.num_test_batches))
    count = min(len(data.test), batches * data.evaluation_batch * trainer.world_size)  # trainer.limit_test_batches
    of_all = f" of {len(data.test):,}" if count < len(data.test) else ""
    rows = {
        "weights": str(cfg.pretrained),
        "data": f"{count:,}{of_all} images of split {cfg.split}, {eval_preprocessing(cfg).size}",
        **{
            name.replace("test_", f"{cfg.split}_"): f"{float(value):.6f}"
            for name, value in trainer.callback_metrics.items()
        },
    }
    skipped = data.left_out()
    if skipped:
        rows["left out"] = f"{len(skipped):,} images that cannot be read: {', '.join(sorted(skipped)[:3])}"
    notes = [
        *getattr(network, "notes", ()),
        *data.notes,
        *class_notes(assemble.classes_learned(cfg), data.class_names()),
    ]
    show_plan(out, rows, notes)

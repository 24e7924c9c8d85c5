"""Evaluate a run or released weights: python evaluate.py run=NAME split=test"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from running import errors, schema  # noqa: F401  # neither imports torch
from running.checks import checks
from running.completion import complete, with_run
from running.parent import follow_parent


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@errors.of_a_job
def main(cfg: DictConfig) -> None:
    with_run(cfg)
    checks(cfg)
    complete(cfg)
    follow_parent()

    import sys

    from rich.console import Console

    import assemble
    from running.bar import Bar
    from running.directory import is_main_process
    from running.notes import of_classes
    from running.ranks import Ranks
    from running.screen import show_plan

    network = assemble.network(cfg, weights=True, new_head=False)
    console = Console(quiet=not is_main_process(), width=None if sys.stdout.isatty() else 120)
    callbacks = [Ranks(cfg.trainer.timeout_s), Bar(console)]
    trainer = assemble.trainer(cfg, network, callbacks=callbacks)
    data = assemble.data(cfg, share=trainer.world_size > 1)
    evaluator = assemble.evaluator(cfg, network, data, trainer)
    data.test = getattr(data, cfg.split)

    trainer.test(evaluator, datamodule=data, verbose=False)
    batches, batch = int(sum(trainer.num_test_batches)), min(trainer.max_per_device, assemble.EVALUATION_BATCH)
    seen = min(len(data.test), batches * batch * trainer.world_size)  # trainer.limit_test_batches
    of_all = f" of {len(data.test):,}" if seen < len(data.test) else ""
    rows = {
        "weights": str(cfg.pretrained),
        "data": f"{seen:,}{of_all} images of split {cfg.split}, {assemble.shown(cfg).size}",
        **{name: f"{float(value):.6f}" for name, value in trainer.callback_metrics.items()},
    }
    skipped = data.left_out()
    if skipped:
        rows["left out"] = f"{len(skipped):,} images that cannot be read: {', '.join(sorted(skipped)[:3])}"
    notes = [
        *getattr(network, "notes", ()),
        *data.notes,
        *of_classes(assemble.classes_learned(cfg), data.class_names()),
    ]
    show_plan(console, rows, notes)


if __name__ == "__main__":
    with errors.for_people():
        main()

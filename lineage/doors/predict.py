"""Name the class of images: lineage predict run=NAME images=FOLDER"""

import sys
from pathlib import Path

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.config.saved_run import with_run
from lineage.doors import door
from lineage.running.process import loading


@door
def run(cfg: DictConfig) -> None:
    cfg = with_run(cfg)
    checks(cfg)
    cfg = complete(cfg)

    with loading():
        from lineage.analysis import answers
        from lineage.asking.trained import Asking
        from lineage.files import write_whole

    asking, found = Asking(cfg), list[answers.Answer]()
    for note in getattr(asking.trained.network, "notes", ()):
        print(f"note: {note}", file=sys.stderr)
    for _, answer in asking:
        found.append(answer)
        if cfg.out is None:
            print(answers.line(answer, asking.names), flush=True)
    if known := [answer.label == answer.classes[0] for answer in found if answer.label >= 0]:
        share = sum(known) / len(known)
        print(f"top-1 {share:.4f} of {len(known):,} images in folders named like classes", file=sys.stderr)
    if cfg.out is not None:
        form = "jsonl" if cfg.out.endswith(".jsonl") else "csv"
        text = answers.table(found, asking.names, cfg.columns, form)
        if cfg.out == "-":
            print(text, end="")
        else:
            write_whole(Path(cfg.out), text, "choose out=FILE")
            print(f"{len(found):,} images: {cfg.out}")

"""A network for another program: python export.py run=NAME to=timm"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from running import errors, schema  # noqa: F401  # neither imports torch
from running.checks import checks
from running.completion import complete, with_run


@hydra.main(version_base="1.3", config_path="conf", config_name="export")
@errors.of_a_job
def main(cfg: DictConfig) -> None:
    with_run(cfg)
    checks(cfg)
    complete(cfg)

    import sys

    from omegaconf import OmegaConf
    from rich.console import Console

    import assemble
    from running.directory import is_finished
    from running.screen import show_plan
    from weights.export import export
    from weights.libraries import Model

    network: Any = assemble.network(cfg, weights=True, new_head=False).eval()
    labels, shown = assemble.class_names(cfg), assemble.shown(cfg)
    values: Any = OmegaConf.to_container(cfg, resolve=True)
    read_back = export(Model(network, values["arch"], values["published"], shown, labels), cfg.to, Path(cfg.output))
    rows = {
        "weights": str(cfg.pretrained),
        "images": str(shown),
        "classes": ", ".join(labels[:5]) + (f", ... {len(labels):,} in all" if len(labels) > 5 else ""),
        "read back": read_back,
        "written": str(cfg.output),
    }
    notes = [*network.notes]
    if cfg.run is not None and not is_finished(Path(cfg.pretrained).parents[1]):
        notes.append("the run is not finished: these are the weights that it saved last")
    if cfg.datamodule.get("show") == "pad":
        notes.append(f"the data's images are padded with zeros to {shown.resolution} px, which no record here says")
    show_plan(Console(width=None if sys.stdout.isatty() else 120), rows, notes)


if __name__ == "__main__":
    with errors.for_people():
        main()

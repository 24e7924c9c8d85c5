"""Write a network for another program: lineage export run=NAME to=timm"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.config.derived import eval_preprocessing
from lineage.config.saved_run import with_run
from lineage.doors import door
from lineage.files import write_whole
from lineage.running.process import loading


@door
def run(cfg: DictConfig) -> None:
    cfg = with_run(cfg)
    checks(cfg)
    cfg = complete(cfg)

    from omegaconf import OmegaConf

    with loading():
        from lineage import assemble
        from lineage.analysis.pages.rendering import model_card
        from lineage.analysis.pages.run_files import RunFiles
        from lineage.doors.report import expected
        from lineage.reporting.screen import console, show_plan
        from lineage.running.directory import is_finished
        from lineage.weights.export import export
        from lineage.weights.libraries import Model

    network: Any = assemble.network(cfg, weights=True, new_head=False).eval()
    labels, preprocessing = assemble.class_names(cfg), eval_preprocessing(cfg)
    values: Any = OmegaConf.to_container(cfg, resolve=True)
    model = Model(network, values["arch"], values["published"], preprocessing, labels)
    loaded = export(model, cfg.to, Path(cfg.output))
    if cfg.to == "timm" and cfg.run is not None and is_finished(run_folder := Path(cfg.pretrained).parents[1]):
        files = RunFiles(str(cfg.run), run_folder)
        write_whole(
            Path(cfg.output) / "README.md", model_card(files, labels, expected(files.results)), "choose output=PATH"
        )
    rows = {
        "weights": str(cfg.pretrained),
        "images": str(preprocessing),
        "classes": ", ".join(labels[:5]) + (f", ... {len(labels):,} in all" if len(labels) > 5 else ""),
        "loads": loaded,
        "written": str(cfg.output),
    }
    notes = [*network.notes]
    if cfg.run is not None and not is_finished(Path(cfg.pretrained).parents[1]):
        notes.append("the run is not finished: these are the weights that it saved last")
    if cfg.datamodule.get("show") == "pad":
        side = preprocessing.resolution
        notes.append(f"the data's images are padded with zeros to {side} px, which the exported file does not state")
    out = console()
    show_plan(out, rows, notes)

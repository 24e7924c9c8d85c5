"""Write a page on a run, a sweep, or several runs: lineage report run=NAME"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lineage.config.checks import checks
from lineage.doors import CONF, door
from lineage.errors import UserError
from lineage.files import write_whole
from lineage.recipes.recipe import header
from lineage.running.directory import is_name, read_config
from lineage.running.process import loading
from lineage.sweeps.jobs import find_run, is_search, load_jobs


@door
def run(cfg: DictConfig) -> None:
    checks(cfg)
    if cfg.run is None:
        raise UserError("Nothing to report: name run=NAME, a sweep, or several runs: 'run=[a,b]'.")
    runs = Path(str(cfg.runs))
    names = list(map(str, cfg.run)) if OmegaConf.is_list(cfg.run) else [str(cfg.run)]  # a name may be a number

    from lineage.analysis.pages.run import Extras, run_page
    from lineage.analysis.pages.run_files import RunFiles

    by_name: dict[str, list[RunFiles]] = {}
    for name in names:
        found = [job.folder for job in load_jobs(runs / name) if job.folder.exists()] or [find_run(runs, name)]
        by_name[name] = [RunFiles(str(folder.relative_to(runs)), folder) for folder in found]
    files = [run for own in by_name.values() for run in own]
    if len(files) > 1:
        from lineage.analysis.pages.comparison import comparison_page

        out = (runs / names[0] / "report.html") if len(names) == 1 else runs / "comparison.html"
        searches = {name: by_name[name] for name in names if is_search(runs / name)}
        text = comparison_page(files, " and ".join(names), searches)
    else:
        out = files[0].folder / "report.html"
        extras = Extras(read_config(files[0].folder / "config.yaml"), expected(files[0].results))
        if cfg.pictures:
            with loading():
                from lineage.asking.showing import show

            show(extras, cfg, files[0])
        text = run_page(files[0], extras)
    out = out if cfg.out is None else Path(cfg.out)
    write_whole(out, text, "choose out=FILE")
    print(f"{out}, {len(text.encode()) / 1000:,.0f} kB")


def expected(results: Mapping[str, Any]) -> str:
    """What the header of a recipe's file says that it reached elsewhere, on the same data; nothing for a user's own."""
    recipe, data = str(results["recipe"]), str(results["datamodule"])
    file = CONF / "recipe" / f"{recipe}.yaml"
    found = header(file) if is_name(recipe) and file.is_file() else {}
    command = found.get("Command", "")
    return found.get("Expected", "") if data in command or (command.endswith("train.py") and data == "digits") else ""

"""Find a learning rate, or the images of a forward pass: lineage find lr arch=resnet18 datamodule=cifar10"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.doors import door
from lineage.running.process import loading


@door
def find(cfg: DictConfig) -> None:
    checks(cfg)
    cfg = complete(cfg)

    with loading():
        import matplotlib.figure  # noqa: F401

        from lineage.analysis import charts
        from lineage.asking import finding
        from lineage.reporting.screen import console, show_table

    out = console()
    if cfg.what == "lr":
        rates, losses = finding.try_rates(cfg, cfg.steps)
        file = Path(f"{cfg.output}.svg")
        file.parent.mkdir(parents=True, exist_ok=True)
        rate = finding.rate_to_try(rates, losses)
        charts.save(charts.rate_range(rates, losses, finding.smoothed(losses), rate), file)
        out.print(f"recipe.lr={rate:.2g}: a tenth of the rate with the least loss, of {len(rates)} steps.  {file}")
        return
    tried, rows = finding.try_batches(cfg), list[list[str]]()
    for one in tried:
        memory = "" if one.failure else f"{one.memory / 2**30:.2f} GiB"
        rows.append([str(one.images), one.failure or f"{one.per_second:,.0f}", memory])
    show_table(out, ("images in a pass", "images/s", "memory"), rows)
    best = max(tried, key=lambda one: one.per_second)
    if not best.failure:
        out.print(f"Fastest with {best.images} images: trainer.max_per_device={best.images}")


def run(words: Sequence[str]) -> Any:
    """`lineage find lr` is `lineage find what=lr`."""
    return find([f"what={word}" if word in ("lr", "batch") else word for word in words])

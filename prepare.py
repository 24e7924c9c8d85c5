"""Pack a data set, or check it: python prepare.py datamodule=imagefolder datamodule.root=FOLDER out=DIR max_size=256"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from running import errors, schema  # noqa: F401  # neither imports torch
from running.checks import checks
from running.completion import complete


@hydra.main(version_base="1.3", config_path="conf", config_name="prepare")
@errors.of_a_job
def main(cfg: DictConfig) -> None:
    checks(cfg)
    complete(cfg)
    if "exif_rotation" in cfg.datamodule:  # images in files or a table are read one by one here, of one size or not
        cfg.datamodule.resolution = None

    import sys

    from rich.console import Console

    import assemble
    from running.preparing import check, pack

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    data = assemble.data(cfg)
    if cfg.check:
        sys.exit(check(data, console))
    pack(data, cfg, console)


if __name__ == "__main__":
    with errors.for_people():
        main()

"""Pack a data set, or check it: lineage prepare datamodule=imagefolder datamodule.root=FOLDER out=DIR max_size=256"""

from __future__ import annotations

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.doors import door


@door
def run(cfg: DictConfig) -> None:
    checks(cfg)
    cfg = complete(cfg)
    if "exif_rotation" in cfg.datamodule:  # images in files or a table are read one by one here, of one size or not
        cfg.datamodule.resolution = None

    import sys

    from lineage import assemble
    from lineage.reporting.packing import check, pack
    from lineage.reporting.screen import console

    out = console()

    data = assemble.data(cfg)
    if cfg.check:
        sys.exit(check(data, out))
    pack(data, cfg, out)

"""Pack a data set, or check it: lineage prepare datamodule=imagefolder datamodule.root=FOLDER out=DIR max_size=256"""

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.doors import door
from lineage.running.process import loading


@door
def run(cfg: DictConfig) -> None:
    checks(cfg)
    cfg = complete(cfg)
    if "exif_rotation" in cfg.datamodule:  # else small encoded images would be loaded into memory
        cfg.datamodule.resolution = None

    import sys

    with loading():
        from lineage import assemble
        from lineage.reporting import packing
        from lineage.reporting.screen import console

    data, screen = assemble.data(cfg), console()
    if cfg.check:
        sys.exit(packing.check(data, screen))
    packing.pack(data, cfg, screen)

"""Installed packages that extend this one, found by their entry point "lineage.plugins".

    [project.entry-points."lineage.plugins"]
    mine = "mypkg"

Their classes are trusted in files, as those of `plugins=[mypkg]` are, and the YAML in their folder conf/ can be chosen.
"""

from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path


@cache
def installed() -> list[str]:
    """The names of the packages."""
    return sorted({point.value for point in entry_points(group="lineage.plugins")})


def config_folders() -> list[Path]:
    """The folders conf/ in these packages; nothing is imported."""
    specs = [find_spec(package) for package in installed()]
    places = [Path(place) / "conf" for spec in specs if spec for place in spec.submodule_search_locations or ()]
    return [place for place in places if place.is_dir()]

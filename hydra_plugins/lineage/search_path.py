"""Makes the YAML of installed packages that extend this one (lineage/plugins.py) available like our own."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from lineage.plugins import config_folders


class InstalledPlugins(SearchPathPlugin):
    """Adds their folders conf/ behind this project's."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in config_folders():
            search_path.append("lineage-plugins", f"file://{folder}")

"""The overrides of a command: their keys, which of them a verb reads, and which are decided by another key."""

import fnmatch
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from lineage.rules import read_table

GROUPS = ("arch", "datamodule", "recipe", "trainer", "callbacks", "logger", "experiment")

_TABLES = read_table(Path(__file__).with_suffix(".yaml"))  # its comments say what each table is
READ: dict[str, list[str]] = {verb: " ".join(parts).split() for verb, parts in _TABLES["read"].items()}
HYDRA_KEYS = _TABLES["hydra"].split()
SYNONYMS = {name: key for key, names in _TABLES["synonyms"].items() for name in names.split()}
ELSEWHERE, NOT_A_CALLBACK = _TABLES["elsewhere"], _TABLES["not_a_callback"]


def overridden_keys() -> list[str]:
    """The keys that the command that runs gives a value."""
    return [key_of(override) for override in HydraConfig.get().overrides.task]


def key_of(override: str) -> str:
    """The key of key=value, +key=value or group@package=choice."""
    return override.split("=")[0].lstrip("+~").split("@")[0]


def removal_message(override: str) -> str:
    """About an override that begins with ~, which would hide a value that acts."""
    key = key_of(override)
    off = {"callbacks": "none", "logger": "none", "experiment": "null"}.get(key, "...")
    return f"{override}: nothing is left out of a command; {key}={off} gives it another value."


def reads(verb: str, key: str) -> bool:
    """Whether a verb reads a key, or a group."""
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in READ.get(verb, ("*",)))

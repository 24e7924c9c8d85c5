"""One line for a user's mistake: what is wrong, and the nearest right thing. Imports no torch."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lineage.config.help import meant
from lineage.config.overrides import ELSEWHERE, key_of, removal_message
from lineage.constraints import problem
from lineage.errors import Stopped, UserError
from lineage.recipes.recipe import ANNOTATIONS
from lineage.text import as_yaml, nearest


@contextmanager
def for_people() -> Iterator[None]:
    """Exit with one line for a user's mistake; other exceptions pass."""
    try:
        yield
    except Stopped as stop:
        sys.exit(stop.status)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except UserError as error:
        exit_with_message(str(error))


def exit_with_message(message: str) -> None:
    """Print a line, with the rank if it is not the first, and exit with 1. A mistake in the
    command is found before torch is imported; only the first rank of a machine prints it."""
    local = os.environ.get("LOCAL_RANK", "0")
    rank = os.environ.get("RANK", local)
    if local == "0" or "torch" in sys.modules:
        sys.stderr.write(f"{'' if rank == '0' else f'[rank {rank}] '}{message.rstrip()}\n")
        sys.stderr.flush()
    if report := os.environ.get("TORCHELASTIC_ERROR_FILE"):  # torchrun then prints the message in its own report
        record = {"message": message, "extraInfo": {"timestamp": str(int(time.time()))}}
        Path(report).write_text(json.dumps({"message": record}))
    sys.exit(1)


def user_sentence(error: BaseException, verb: str = "train", words: Sequence[str] = ()) -> str | None:
    """The message of an exception for the user; None for a bug, whose traceback should be shown."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, InstantiationException):
        return _instantiation_sentence(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _config_sentence(error, verb, words)
    if "Config group override must be" in str(error):  # a ValueError of Hydra's, which does not say of which
        word = next((word for word in words if re.fullmatch(r"\w+=(null|true|false|[\d.]*)", word)), "A group")
        return f"{word}: a group is a choice by name; python train.py --help lists them."
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}. What was saved stays; the same command continues."
    if type(error).__name__ == "MisconfigurationException":  # Lightning's word for a user's mistake
        return " ".join(str(error).split())
    return _known_sentence("libraries", f"{type(error).__name__}: {error}")


def _known_sentence(table: str, text: str) -> str | None:
    """What a table of errors.yaml says about the text of an exception."""
    for row in yaml.safe_load(Path(__file__).with_name("errors.yaml").read_text())[table]:
        if found := re.search(row["error"], text):
            return found.expand(row["say"])
    return None


# ---- Hydra and OmegaConf


def _instantiation_sentence(error: InstantiationException) -> str | None:
    """The sentence behind Hydra's report that a _target_ failed; None for a bug."""
    cause = error.__cause__
    if isinstance(cause, UserError):
        return str(cause)
    group = re.search(r"full_key: (\S+)", str(error))
    where = f" ({group.group(1)})" if group else ""
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    if unexpected:
        return f"{unexpected.group(1)} is not an argument there{where}."
    if cause is not None and not isinstance(cause, TypeError | ValueError | ImportError):
        return user_sentence(cause)
    return f"{type(cause).__name__ if cause else 'Error'}{where}: {' '.join(str(cause or error).split())}"


def _config_sentence(error: BaseException, verb: str, words: Sequence[str]) -> str:
    text = str(error).strip()
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        near = nearest(choice, error.options)
        near = near or f" There is {', '.join(sorted(error.options))}."
        return f"{group}={choice}: there is no such {group}.{near}"
    cause: BaseException = error
    while isinstance(cause.__cause__, OmegaConfBaseException | HydraException):
        cause = cause.__cause__
    return _key_sentence(cause, text, verb, words) or _syntax_sentence(text) or text.split("\n\n")[0].split("\n")[0]


def _key_sentence(cause: BaseException, text: str, verb: str, words: Sequence[str]) -> str | None:
    """A key that does not exist, or a value of the wrong type."""
    key = getattr(cause, "full_key", None) or _after("full_key: ", str(cause)) or _after("full_key: ", text)
    not_there = "not in" in str(cause) and "Key" in str(cause)
    if not_there and key:
        of_a_run = verb != "train" and any(word.startswith("run=") for word in words)
        word = next((word for word in words if f"{key_of(word)}.".startswith(f"{key}.")), key)
        return _unknown_key_sentence(key, getattr(cause, "parent_node", None), of_a_run, meant(word, verb), word)
    if key and key.startswith("recipe.") and re.search("onver|Invalid|valid bool|not Optional|type", str(cause)):
        return _value_sentence(key, cause, words)
    if "Missing mandatory value" in str(cause) and key:
        return f"{key} has no value; give it one: {key}=..."
    missing = re.search(r"Interpolation key '([\w.]+)' not found", str(cause))
    if missing:
        return f"{key} is ${{{missing.group(1)}}}, and there is no {missing.group(1)}: give {key} a value."
    return None


def _value_sentence(key: str, cause: BaseException, words: Sequence[str]) -> str:
    """A value that OmegaConf refused while it composed the recipe, in the words of lineage/constraints.py."""
    in_file = re.search(r"Value '(.*?)'", str(cause))
    overrides = [word for word in words if key_of(word) == key]
    if overrides and overrides[-1].startswith("~"):
        return removal_message(overrides[-1])
    value = yaml.safe_load(overrides[-1].partition("=")[2] if overrides else in_file[1] if in_file else "null")
    wrong = problem(ANNOTATIONS[key.removeprefix("recipe.")], value)
    return f"{key}={as_yaml(value)}: {wrong or 'it is of another type.'}"


def _unknown_key_sentence(key: str, parent: object, of_a_run: bool, right: str | None, word: str) -> str:
    """The word to write instead, or the nearest key beside it."""
    prefix, last = key[: key.rfind(".") + 1], key.rpartition(".")[2]
    if prefix == "trainer." and last in ELSEWHERE:
        return f"{key}: {ELSEWHERE[last]}."
    if of_a_run and prefix in ("arch.", "datamodule."):  # composed before the run is read
        return f"{key}: there is no such key. If the run's {prefix[:-1]} has it, it is given with a plus: +{key}=..."
    if right and key_of(right.strip("'")) != key_of(word):
        return f"{word}: write {right}."
    siblings = [str(name) for name in parent] if isinstance(parent, DictConfig) else []
    near = f" Another {prefix[:-1]} has it." if right else nearest(last, siblings, prefix)
    return f"{key}: there is no such key.{near}"


def dashes_sentence(option: str, verb: str, words: Sequence[str]) -> str:
    """About a value that is given as an option: --recipe.lr=0.1, or --lr 0.1."""
    after = [word for word in words[list(words).index(option) + 1 :][:1] if "=" not in option + word]
    right = meant("=".join([option, *after]), verb)
    return f"{' '.join([option, *after])}: {f'write {right}.' if right else 'a value is key=value, without dashes.'}"


def _syntax_sentence(text: str) -> str | None:
    """A word that is not key=value, one too many + or ~, or a list of values without -m."""
    removed = re.search(r"Error merging override (~\S+)", text)
    return removal_message(removed[1]) if removed else _known_sentence("hydra", text)


def _after(marker: str, text: str) -> str | None:
    match = re.search(re.escape(marker) + r"(\S+)", text)
    return match.group(1) if match else None

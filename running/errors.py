"""One line for a user's mistake: what is wrong, and the nearest right thing. Imports no torch."""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises, instead of printing its own view of the error

from hydra.core.hydra_config import HydraConfig  # noqa: E402
from hydra.errors import HydraException, InstantiationException, MissingConfigException  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from omegaconf.errors import OmegaConfBaseException  # noqa: E402

ROOMS = ("archs", "datamodules", "recipes", "running")


class UserError(Exception):
    """A mistake in a command or its surroundings; the message is one or two lines for the user."""


@contextmanager
def for_people() -> Iterator[None]:
    """Exit with one line for mistakes; other exceptions pass. A traceback of a mistake goes to train.log."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        _leave(_of_instantiation(error) or _of_config(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not is_for_people(error):
            raise
        if HydraConfig.initialized() and logging.getLogger().handlers:  # train.log is open
            logging.getLogger(__name__).error("%s", error, exc_info=True)
        _leave(str(error))


def is_for_people(error: BaseException) -> bool:
    """An exception class that this project defines carries a sentence for the user; others are bugs."""
    return type(error).__module__.split(".")[0] in ROOMS


def nearest(word: str, words: Iterable[str], prefix: str = "") -> str:
    """The sentence " Did you mean X?", X being the most similar of `words` after `prefix`; or nothing."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f" Did you mean {prefix}{near[0]}?" if near else ""


def _leave(message: str) -> None:
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    prefix = "" if rank == "0" else f"[rank {rank}] "
    sys.stderr.write(prefix + message.rstrip() + "\n")
    sys.exit(1)


def _of_instantiation(error: BaseException) -> str | None:
    """The sentence behind Hydra's report that a _target_ failed; None if Hydra failed otherwise."""
    if not isinstance(error, InstantiationException):
        return None
    cause = error.__cause__
    if cause is not None and is_for_people(cause):
        return str(cause)
    group = re.search(r"full_key: (\S+)", str(error))
    where = f" ({group.group(1)})" if group else ""
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    if unexpected:
        return f"{unexpected.group(1)} is not an argument there{where}."
    if cause is not None and not isinstance(cause, TypeError | ValueError | ImportError):
        raise error
    return f"{type(cause).__name__ if cause else 'Error'}{where}: {cause or error}"


def _of_config(error: BaseException) -> str:
    text = str(error).strip()
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        near = nearest(choice, error.options)
        near = near or f" There is {', '.join(sorted(error.options))}."
        return f"{group}={choice}: there is no such {group}.{near}"
    cause: BaseException = error
    while isinstance(cause.__cause__, OmegaConfBaseException | HydraException):
        cause = cause.__cause__
    return _of_key(cause, text) or _of_syntax(text) or text.split("\n\n")[0]


def _of_key(cause: BaseException, text: str) -> str | None:
    """A key that does not exist, or a value of the wrong type."""
    key = getattr(cause, "full_key", None) or _after("full_key: ", str(cause)) or _after("full_key: ", text)
    not_there = "not in" in str(cause) and "Key" in str(cause)
    if not_there and key:
        parent = getattr(cause, "parent_node", None)
        prefix, last = key[: key.rfind(".") + 1], key.rpartition(".")[2]
        siblings = [str(name) for name in parent] if isinstance(parent, DictConfig) else []
        return f"{key}: there is no such key.{nearest(last, siblings, prefix)}"
    if key and ("could not be converted" in str(cause) or "Cannot convert" in str(cause) or "Invalid" in str(cause)):
        value = re.search(r"Value '(.*?)'", str(cause))
        kind = re.search(r"converted to (\w+)", str(cause))
        if "ListConfig" in str(cause):
            return f"{key}: it takes a list, {key}=[1,2]."
        kinds = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
        wanted = kinds.get(kind.group(1), f"a {kind.group(1)}") if kind else "another type"
        return f"{key}={value.group(1) if value else ''}: it takes {wanted}."
    if "not Optional" in str(cause):
        return f"{key or text.split()[-1].split('=')[0]}: it cannot be null."
    if "Missing mandatory value" in str(cause) and key:
        return f"{key} has no value; give it one: {key}=..."
    return None


def _of_syntax(text: str) -> str | None:
    """A word that is not key=value; Hydra's parser reports it with a link to its grammar."""
    if "hydra.cc/docs" not in text:
        return None
    return f"{text.splitlines()[0]}. Words of the command read key=value; quote what holds spaces or commas."


def _after(marker: str, text: str) -> str | None:
    match = re.search(re.escape(marker) + r"(\S+)", text)
    return match.group(1) if match else None

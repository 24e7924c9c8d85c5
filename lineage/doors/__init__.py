"""The verbs of the command line, one per file: each checks and completes its config, builds the parts, and runs."""

import argparse
import functools
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.utils import _run_hydra, get_args_parser
from omegaconf import DictConfig

import lineage
from lineage.config import help, messages, schema  # noqa: F401  # schema: the types of the config
from lineage.config.checks import check_hydra_overrides
from lineage.errors import Finished, UserError
from lineage.running.directory import is_main_process
from lineage.running.process import end_by_signals, leave
from lineage.streams import guard_streams
from lineage.text import nearest

CONF = Path(lineage.__file__).parent / "conf"


def door(task: Callable[[DictConfig], Any]) -> Callable[[Sequence[str]], Any]:
    """Turn a function of a config into a verb, named after its file; its config is conf/VERB.yaml.

    Returns:
        A function of the command's arguments that returns the result of `task`. It raises UserError for a mistake,
        otherwise what `task` raises. In a sweep the jobs' own processes run `task`, and nothing is returned.
    """
    module = task.__module__
    verb = module.rpartition(".")[2]

    def run(words: Sequence[str]) -> Any:
        returned: list[Any] = []
        raised: list[Exception] = []
        act = task

        @functools.wraps(task)
        def job(cfg: DictConfig) -> None:
            try:
                returned.append(act(cfg))
            except Finished as finished:
                returned.append(finished.results)
            except Exception as error:
                raised.append(error)  # Hydra would print a line of its own

        args, parser = _parsed(words, verb)
        if args.help:  # a task too, since it shows values of the composed config
            asked = [word for word in args.overrides if "=" not in word]
            args.overrides = [word for word in args.overrides if "=" in word]
            args.help = args.multirun = False
            act = functools.partial(help.show, verb, str(sys.modules[module].__doc__), asked)
        try:
            if is_main_process():  # Lightning starts the other ranks with such keys
                check_hydra_overrides(args.overrides)
            _run_hydra(args, parser, job, str(CONF), verb)
            if raised:
                raise raised[0]
        except Exception as error:
            sentence = messages.user_sentence(error, verb, words)
            if sentence is None or isinstance(error, UserError):
                raise
            raise UserError(sentence) from error
        return returned[0] if returned else None

    return run


def _parsed(words: Sequence[str], verb: str) -> tuple[argparse.Namespace, argparse.ArgumentParser]:
    """The arguments of a command, and Hydra's parser. Raises UserError: an option that it does not take."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises errors instead of printing them
    version.setbase("1.3")
    parser = get_args_parser()
    parser.allow_abbrev = False  # --re is not --resolve
    args, unknown = parser.parse_known_intermixed_args(words)
    unknown += [word for word in words if word.startswith("--experimental-rerun")]  # which has no effect here
    if unknown:
        raise UserError(messages.dashes_sentence(unknown[0], verb, words))
    return args, parser


def command(verb: str | None = None) -> None:
    """The entry point of the command line, with which the process ends.

    Args:
        verb: None: the first argument.
    """
    main(verb)
    leave()


def main(verb: str | None = None) -> None:
    """Run the command in sys.argv; an error of the user's is a line, and SystemExit."""
    if sys.platform == "win32":
        sys.exit("Lineage runs on Linux and macOS, and on Windows inside WSL: docs/faq.md")
    guard_streams()
    words = sys.argv[1:]
    if verb is None:
        verb, *words = words or ["--help"]
    if verb == "train" and not {"-m", "--multirun"} & set(words):  # a sweep passes signals on to its jobs
        end_by_signals()
    with messages.for_people():
        verbs = [module.name for module in pkgutil.iter_modules(__path__)]
        if verb in ("-sc", "--shell-completion"):
            _complete([verb, *words], verbs)
            return
        if verb in ("-h", "--help"):
            print(_help(verbs))
            return
        if verb not in verbs:
            near = nearest(verb, verbs) or " lineage --help lists them."
            raise UserError(f"lineage {verb}: there is no such verb.{near}")
        import_module(f"lineage.doors.{verb}").run(words)


def _help(verbs: Sequence[str]) -> str:
    docs = {verb: str(import_module(f"lineage.doors.{verb}").__doc__).splitlines()[0] for verb in verbs}
    lines = [f"  {verb:10}{doc}" for verb, doc in docs.items()]
    return "\n".join(["lineage VERB [group=choice] [group.key=value] ...", "", *lines, "", "lineage VERB --help"])


def _complete(words: Sequence[str], verbs: Sequence[str]) -> None:
    """Shell completion of `lineage VERB ...`: the verb here; what follows it by Hydra, which knows no verbs."""
    line = os.environ.get("COMP_LINE", "").split(" ", 2)
    if len(line) == 2:
        print(*verbs)
        return
    *before, last = line[-1].split(" ")
    words_of_hydra = [word for word in before if "=" in word]  # not lineage find lr
    os.environ["COMP_LINE"] = " ".join([line[0], *words_of_hydra, last])
    verb = line[1] if len(line) == 3 and line[1] in verbs else "train"
    import_module(f"lineage.doors.{verb}").run(words)

"""What --help says of a verb, a group or a key, and the key that a wrong one stands for. Imports no torch.

The text of a key is the comment beside it, in recipes/recipe.py or in a YAML of conf, or its line in a docstring.
"""

import re
import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lineage.config.overrides import GROUPS, SYNONYMS, key_of, reads
from lineage.config.schema import key_types
from lineage.config.signatures import arguments
from lineage.constraints import in_words
from lineage.errors import UserError
from lineage.recipes.recipe import ANNOTATIONS, header, recipe_keys
from lineage.text import as_yaml, comments, nearest

CONF = Path(__file__).parents[1] / "conf"
WIDTH = 80  # columns


# ---- the texts of keys


def comments_of(file: Path) -> dict[str, str]:
    """The comments of the keys of a YAML of conf, then of the files beside it that its defaults name."""
    text = file.read_text(encoding="utf-8")
    found, defaults = comments(text), (yaml.safe_load(text) or {}).get("defaults", [])
    parents = [file.with_name(f"{name}.yaml") for name in defaults if isinstance(name, str)]
    for parent in filter(Path.is_file, parents):
        found |= {key: comment for key, comment in comments_of(parent).items() if not found.get(key)}
    return found


def own_keys(verb: str) -> dict[str, str]:
    """The keys beside the groups that a verb reads, and their comments."""
    types, found = key_types(verb), comments_of(CONF / f"{verb}.yaml")
    return {name: comment for name, comment in found.items() if name in types and reads(verb, name)}


# ---- the word that was meant


def meant(word: str, verb: str) -> str | None:
    """What to write instead of a word whose key does not exist: recipe.lr=0.1 for learning_rate=0.1 or arch.lr=0.1.

    Returns:
        None if no key that the verb reads has this name or synonym, in any group.
    """
    key, equals, value = word.lstrip("+-").partition("=")
    last = key.rpartition(".")[2].replace("-", "_")
    found = SYNONYMS.get(last) or _key_named(last, verb)
    if found is None or not reads(verb, key_of(found)):
        return None
    return found if "=" in found else shlex.quote(f"{found}{equals}{value}")


def _key_named(name: str, verb: str) -> str | None:
    if name in GROUPS or name in own_keys(verb):
        return name
    if name in ANNOTATIONS:
        return f"recipe.{name}"
    for file in (file for group in ("datamodule", "trainer", "arch") for file in sorted((CONF / group).glob("*.yaml"))):
        text = file.read_text(encoding="utf-8").partition("\npublished:")[0]
        if re.search(rf"^(  )?{re.escape(name)}: ", text, re.MULTILINE):
            return f"{file.parent.name}.{name}"
    return None


# ---- pages


def show(verb: str, docstring: str, asked: Sequence[str], cfg: DictConfig) -> None:
    """Print the help of a verb, or of the groups and keys that are asked for, with the values of the composed config.

    Raises:
        UserError: there is no such key.
    """
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    if not asked:
        groups = hydra.format_config_groups(lambda group: group[:5] != "hydra" and reads(verb, group.split("/")[0]))
        print(_page(verb, docstring, cfg, groups.splitlines()))
    for word in asked:
        if word in (*GROUPS, "hydra/sweeper", "hydra/launcher"):
            files = [_file(word, choice) for choice in hydra.config_loader.get_group_options(word)]
            titles = {file.stem: header(file)[""].removeprefix("@package _global_").strip() for file in files if file}
            print("\n".join(_row(choice, title, most=1) for choice, title in titles.items()))
        else:
            print(_key_page(verb, word, cfg))


def _page(verb: str, docstring: str, cfg: DictConfig, groups: Sequence[str]) -> str:
    head = (CONF / f"{verb}.yaml").read_text(encoding="utf-8").partition("defaults:")[0]
    lines, prose = [f"{docstring.partition(':')[0]}.", ""], ""
    for line in head.splitlines():
        command, _, text = line.removeprefix("# ").partition("   ")
        lines += [f"  {command}", f"      {text.strip()}"] if text else []
        prose += "" if text else f"{command} "
    lines += ["", *textwrap.wrap(prose, WIDTH)] if prose else []
    lines += ["", "Keys, with their values in this command:"]
    lines += [_row(_assignment(cfg, name), text) for name, text in own_keys(verb).items()]
    lines += ["", "Groups, as group=choice; the values in them as group.key=value:"] if groups else []
    lines += [_choices(group) for group in groups]
    program = f"python {verb}.py" if verb in ("train", "evaluate") else f"lineage {verb}"
    choices = ", and --help GROUP the choices of a group" if groups else ""
    more = f"{program} --help KEY explains a key{choices}; --cfg job prints all values."
    return "\n".join([*lines, "", textwrap.fill(more, WIDTH)])


def _choices(group: str) -> str:
    """The choices of a group, of which the first four lines, from "group: choice, ..."."""
    more = f" ... --help {group.partition(':')[0]}"
    return textwrap.fill(group, WIDTH, initial_indent="  ", subsequent_indent="    ", max_lines=4, placeholder=more)


def _key_page(verb: str, key: str, cfg: DictConfig) -> str:
    """A key's value, what it may be, and its comment; of a node, all keys in it."""
    group, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, group) if group else cfg
    if not isinstance(node, DictConfig) or name not in node:
        right = meant(key, verb)
        if right and right != key:
            return _key_page(verb, right.partition("=")[0], cfg)
        prefix, names = f"{group}." if group else "", map(str, node) if isinstance(node, DictConfig) else ()
        near = f" Another {group} has it." if right else nearest(name, names, prefix)
        raise UserError(f"--help {key}: there is no such key.{near}")
    if isinstance(value := node._get_node(name), DictConfig):
        return "\n".join(_key_page(verb, f"{key}.{child}", cfg) for child in map(str, value) if child[0] != "_")
    kind, text = _meaning(verb, group, name, node)
    rows = filter(None, [in_words(kind), text])
    return "\n".join([_assignment(cfg, key), *(textwrap.indent(textwrap.fill(row, WIDTH - 4), "    ") for row in rows)])


def _meaning(verb: str, group: str, name: str, node: DictConfig) -> tuple[Any, str]:
    """The annotation and the text of a key."""
    if not group:
        return key_types(verb)[name], own_keys(verb).get(name, "")
    if group == "recipe":
        return ANNOTATIONS[name], next(keys[name] for keys in recipe_keys().values() if name in keys)
    signature = arguments(str(node.get("_target_")))
    argument = signature.arguments.get(name) if signature else None
    first = group.split(".")[0]
    file = _file(first, str(HydraConfig.get().runtime.choices.get(first)))
    comment = comments_of(file).get(name, "") if file else ""
    return (argument.annotation, comment or argument.text(name)) if argument else (Any, comment)


def _file(group: str, choice: str) -> Path | None:
    """The YAML of a choice, in the first folder of configs that has it."""
    hydra = GlobalHydra.instance().hydra
    folders = [Path(source.path) for source in hydra.config_loader.get_sources()] if hydra else []
    return next(filter(Path.is_file, (folder / group / f"{choice}.yaml" for folder in folders)), None)


def _assignment(cfg: DictConfig, key: str) -> str:
    return shlex.quote(f"{key}={as_yaml(OmegaConf.select(cfg, key, default='...'))}")  # of a missing value


def _row(word: str, text: str, most: int = 9) -> str:
    """A word and its text in two columns."""
    rows = textwrap.wrap(text, WIDTH - 24, max_lines=most, placeholder=" ...") or [""]
    first = [f"  {word:21} {rows[0]}"] if len(word) <= 21 else [f"  {word}", " " * 24 + rows[0]]
    return "\n".join([*first, *(" " * 24 + row for row in rows[1:])])

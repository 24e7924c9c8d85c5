"""Write docs/keys.md, from its line MADE on: make docs

The types and texts are those of --help: of recipes/recipe.py, and of the YAMLs of the verbs in conf.
"""

from collections.abc import Iterable
from dataclasses import MISSING, fields

from docs.papers import ROOT, written_by_hand
from lineage.config.help import own_keys, recipe_keys
from lineage.config.overrides import READ
from lineage.config.schema import key_types
from lineage.constraints import in_words
from lineage.recipes.recipe import ANNOTATIONS, Recipe
from lineage.text import as_yaml

PAGE = ROOT / "docs" / "keys.md"


def page() -> str:
    """The text of docs/keys.md."""
    parts = [written_by_hand(PAGE)]
    for name, keys in recipe_keys().items():
        rows = ((key, off(key), in_words(ANNOTATIONS[key]), text) for key, text in keys.items())
        parts += [f"## recipe: {name}\n", table(("key", "off", "takes", "what it is"), rows)]
    parts += ["## Beside the groups\n", table(("key", "takes", "what it is", "verbs"), beside_the_groups())]
    return "\n".join(parts)


def off(key: str) -> str:
    """The value of a key that a recipe leaves out; nothing if every recipe states it."""
    field = next(field for field in fields(Recipe) if field.name == key)
    if field.default_factory is not MISSING:
        return "[]"
    return "" if field.default is MISSING else as_yaml(field.default) or '""'


def beside_the_groups() -> list[tuple[str, str, str, str]]:
    """A row for each key, and one more where a verb means something else by it."""
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for verb in ("train", *READ):
        for key, text in own_keys(verb).items():
            verbs.setdefault((key, in_words(key_types(verb)[key]), text), []).append(verb)
    return [(*row, ", ".join(names)) for row, names in verbs.items()]


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join((f"`{key}`", *(cell.replace("|", "\\|") for cell in cells))) for key, *cells in rows]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {line} |" for line in lines), ""])


if __name__ == "__main__":
    PAGE.write_text(page())

"""Write docs/keys.md, from its line MADE on: make docs

The types and texts are those of --help: of recipes/recipe.py, and of the YAMLs of the verbs in conf.
"""

from dataclasses import MISSING, fields

from docs import papers
from docs.papers import ROOT
from lineage.config.help import own_keys, recipe_keys
from lineage.config.overrides import READ
from lineage.config.schema import key_types
from lineage.constraints import in_words
from lineage.recipes.recipe import ANNOTATIONS, Recipe
from lineage.text import as_yaml

PAGE = ROOT / "docs" / "keys.md"


def page() -> str:
    """The text of docs/keys.md."""
    recipe = {
        name: [(key, off(key), in_words(ANNOTATIONS[key]), text) for key, text in keys.items()]
        for name, keys in recipe_keys().items()
    }
    return papers.page(PAGE, recipe=recipe, others=beside_the_groups())


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


if __name__ == "__main__":
    PAGE.write_text(page())

"""The schema of every recipe: one column of Table 2 of "ResNet strikes back" (arXiv 2110.00476). Imports no torch.

It is flat: recipes/keys/ groups the keys only for reading.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from lineage.constraints import problem
from lineage.recipes.keys.augmentation import Augmentation
from lineage.recipes.keys.averages import Averages
from lineage.recipes.keys.length import Length
from lineage.recipes.keys.objective import Objective
from lineage.recipes.keys.optimization import Optimization
from lineage.recipes.keys.regularization import Regularization
from lineage.recipes.keys.schedule import Schedule
from lineage.recipes.keys.values import RecipeError
from lineage.rules import broken_rule
from lineage.text import as_yaml

RULES = Path(__file__).parent / "keys" / "rules.yaml"
__all__ = ["Recipe", "RecipeError", "header"]


@dataclass(kw_only=True)
class Recipe(Objective, Averages, Augmentation, Regularization, Schedule, Optimization, Length):
    """All keys, in the table's order: dataclasses collect the fields of the last base first."""

    def check(self) -> None:
        """Raise RecipeError for the first value that makes no sense, alone or beside the others."""
        for name, annotation in ANNOTATIONS.items():
            if wrong := problem(annotation, getattr(self, name)):
                raise RecipeError(f"recipe.{name}={as_yaml(getattr(self, name))}: {wrong}")
        if wrong := broken_rule(RULES, vars(self)):
            raise RecipeError(f"recipe.{wrong}")


ANNOTATIONS: dict[str, Any] = get_type_hints(Recipe, include_extras=True)  # of all keys


def header(file: Path) -> dict[str, str]:
    """The comment at the head of a recipe's YAML: its title, under "", and its paragraphs by their first word."""
    parts, word = {"": ""}, ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        text = line[2:]
        start = re.match(r"([A-Z][a-z]+): +(.*)", text)
        word, text = start.groups() if start else (word, text.strip())
        parts[word] = f"{parts.get(word, '')} {text}".strip()
    return parts

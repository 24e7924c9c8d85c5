"""What a value of a recipe may be, and the error of one that makes no sense.

A key without a default must stand in the YAML; a default only ever means "off". A choice of words is annotated
`Annotated[str, Literal[...]]`, since OmegaConf does not take a Literal as a type. Imports no torch.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, get_type_hints

from lineage.constraints import problem
from lineage.errors import UserError
from lineage.text import as_yaml

Share = Annotated[float, "0 <= x <= 1"]  # a probability too
BelowOne = Annotated[float, "0 <= x < 1"]
Rate = Annotated[float, "0 <= x <= 1e9"]  # a learning rate
Epochs = Annotated[float, "0 <= x <= 1000000"]
Pixels = Annotated[int, "1 <= x <= 8192"]


class RecipeError(UserError, ValueError):
    """A value that the procedure cannot have; the message is one line for the user."""


def check_values(recipe: Any) -> None:
    """Raise RecipeError for the first value that its key's annotation does not allow."""
    for name, annotation in key_annotations(type(recipe)).items():
        value = getattr(recipe, name)
        wrong = problem(annotation, value)
        if wrong:
            raise RecipeError(f"recipe.{name}={as_yaml(value)}: {wrong}")


@cache
def key_annotations(schema: type) -> dict[str, Any]:
    """The annotations of all keys, in the order of the table."""
    return get_type_hints(schema, include_extras=True)

"""Types of a recipe's values, and the error of an invalid value.

A key without a default must be in the YAML; a default always means "off". A choice of words is annotated
`Annotated[str, Literal[...]]`, since OmegaConf does not take a Literal as a type. Imports no torch.
"""

from typing import Annotated

from lineage.errors import UserError

Share = Annotated[float, "0 <= x <= 1"]  # a probability too
BelowOne = Annotated[float, "0 <= x < 1"]
Rate = Annotated[float, "0 <= x <= 1e9"]  # a learning rate
Epochs = Annotated[float, "0 <= x <= 1000000"]
Pixels = Annotated[int, "1 <= x <= 8192"]


class RecipeError(UserError, ValueError):
    """An invalid value of a recipe; the message is one line for the user."""

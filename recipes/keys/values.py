"""What a value of a recipe may be, and the error of one that makes no sense.

A key without a default must stand in the YAML; a default only ever means "off". A choice of words is annotated
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
    """A value that the procedure cannot have; the message is one line for the user."""

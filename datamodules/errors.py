"""What a user is told of data that cannot be used. Imports no torch."""

from __future__ import annotations

from lineage.errors import UserError


class DataError(UserError):
    """Data that cannot be read or split as asked; the message is one or two lines for the user."""

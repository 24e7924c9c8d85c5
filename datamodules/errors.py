"""The error of data that cannot be used. Imports no torch."""

from lineage.errors import UserError


class DataError(UserError):
    """Data that cannot be read or split as the config asks; the message is one or two lines for the user."""

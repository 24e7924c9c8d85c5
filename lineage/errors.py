"""Exceptions that end a command."""

from typing import Any


class UserError(Exception):
    """A mistake in a command or its surroundings; the message is one or two lines: what is wrong, and a valid value."""


class Stopped(Exception):
    """A run was told to stop and has saved its step.

    Attributes:
        status: the exit status; 128 + the signal's number as a shell has it, 124 for a time limit as `timeout` has it.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)  # both, so that it can be pickled
        self.status = status


class Finished(Exception):
    """The command names a run that is already finished.

    Attributes:
        results: the content of its results.json.
    """

    def __init__(self, results: dict[str, Any]) -> None:
        super().__init__(results)
        self.results = results

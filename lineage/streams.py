"""Standard output and standard error that may be closed, full or read by nobody: a run goes on without them."""

import os
import sys
from typing import Any


class Stream:
    """A text stream that discards all output after its first failure."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream if stream is not None else open(os.devnull, "w")  # noqa: SIM115  # for as long as we run
        self.stream.reconfigure(errors="backslashreplace")  # a name beyond ASCII, in a terminal of LC_ALL=C

    def write(self, text: str) -> int:
        return self._try("write", text) or len(text)

    def flush(self) -> None:
        self._try("flush")

    def _try(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self.stream, method)(*arguments)
        except (OSError, ValueError):
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())  # or Python fails again when it exits
            return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def guard_streams() -> None:
    """Guard this process's own streams."""
    sys.stdout, sys.stderr = Stream(sys.stdout), Stream(sys.stderr)

"""The base class of data sets of encoded images, some of which may be unreadable."""

import logging
import os
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.decoding.resampling import HAS_CYKOOZ
from lineage.datamodules.discovery.scanning import printable
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault

log = logging.getLogger(__name__)


class EncodedDataModule(ImageDataModule):
    """A data set of encoded images, some of which may be unreadable.

    Args:
        on_error: what an unreadable image does: "fail", end the run, or "skip", be left out of its batch.
        max_errors: with "skip", the most images to leave out. With several devices, their sum is checked at each save.
        exact_evaluation: whether evaluation sees Pillow's own pixels, as published accuracies do; otherwise nearly the
            same pixels in less than half the time.

    Attributes:
        digest: of the training images' names and classes, if they have any.
    """

    digest: str | None = None

    def __init__(
        self,
        *,
        on_error: Literal["fail", "skip"],
        max_errors: Annotated[int, "x >= 0"],
        exact_evaluation: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.on_error, self.max_errors, self.exact_evaluation = on_error, max_errors, exact_evaluation

    def load(self) -> None:
        super().load()
        if not HAS_CYKOOZ:
            self.notes.append("cykooz-resizer is not installed, so Pillow resizes training images, more slowly")

    def state_dict(self) -> dict[str, Any]:
        self.skipped = self.left_out()
        self._check_count(next(reversed(self.skipped), ""))
        return {**super().state_dict(), "skipped": dict(self.skipped), **self._identity()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if any(state_dict.get(key, value) != value for key, value in self._identity().items()):  # old runs lack keys
            raise DataError(
                f"{printable(self.root)} has other training images or classes than the run was started with: "
                "bring them back, or choose another name, run=NAME."
            )
        super().load_state_dict(state_dict)
        before = state_dict.get("skipped", {})
        self.skipped = {**{self._below_root(name): reason for name, reason in before.items()}, **self.skipped}

    def _identity(self) -> dict[str, Any]:
        """What must be the same when a run is resumed."""
        return {"images": self.digest, "classes": list(self.names)}

    def _below_root(self, name: str) -> str:
        """The name of an image without the folder of the data set, which may move between two starts of a run."""
        return name.removeprefix(printable(os.path.abspath(self.root)) + os.sep)

    def report(self, faults: Iterable[Fault]) -> None:
        if self.on_error == "fail":
            super().report(faults)
        last = next(reversed(self.skipped), "")
        for fault in faults:
            name = self._below_root(fault.name)
            if name not in self.skipped:
                self.skipped[name] = fault.reason
                log.warning("left out: %s cannot be read as an image (%s)", fault.name, fault.reason)
                last = fault.name
        self._check_count(last)

    def _check_count(self, last: str) -> None:
        if self.on_error == "skip" and len(self.skipped) > self.max_errors:
            raise DataError(
                f"{len(self.skipped)} images cannot be read, more than datamodule.max_errors={self.max_errors}; "
                f"the last is {last}.\nlineage prepare check=true lists them all."
            )

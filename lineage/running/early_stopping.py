"""Early stopping whose patience may change when a run continues."""

from typing import Any

from pytorch_lightning import callbacks


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's callback, which would restore `patience` from the checkpoint instead of using the command's."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})

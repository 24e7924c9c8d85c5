"""Early stopping that listens to the command of a run that goes on."""

from typing import Any

from pytorch_lightning import callbacks


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, which would take `patience` from the checkpoint, whatever the command says."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})

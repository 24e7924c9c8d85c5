"""Lightning's Trainer with the machine's choices made: devices, precision, checkpoint files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from running.checkpoints import AtomicCheckpointIO, Checkpoints
from running.errors import UserError

# Below this many multiply-adds an image, bf16 autocast costs a CPU more than it saves (benchmarks/README.md).
CPU_BF16_MACS = 10e6


class Trainer(pl.Trainer):
    """Lightning's Trainer, with these arguments beside Lightning's own:

    Args:
        precision: "auto" or one of Lightning's; "auto" is mixed where the device gains and `mixed_precision` allows it.
        mixed_precision: whether the recipe allows it.
        macs: multiply-adds of the network for one image.
        max_per_device: most images in one forward pass of a device.
        channels_last: memory format of network and images.
        compile: whether to use torch.compile.
        log_every_n_steps: steps from one row of loss and learning rate to the next.
        checkpoint_minutes, checkpoint_steps: save last.ckpt this often, besides the end of each epoch; 0: do not.
        default_root_dir: the folder of checkpoints/.
    """

    def __init__(
        self,
        *,
        precision: str,
        mixed_precision: bool,
        macs: float,
        max_per_device: int,
        channels_last: bool,
        compile: bool,
        log_every_n_steps: int,
        checkpoint_minutes: float,
        checkpoint_steps: int,
        logger: Sequence[Logger],
        callbacks: Sequence[Callback],
        default_root_dir: Path,
        enable_checkpointing: bool = True,
        **lightning: Any,
    ) -> None:
        if max_per_device < 1:
            raise UserError(f"trainer.max_per_device={max_per_device}: it is at least 1.")
        self.row_steps = log_every_n_steps
        self.max_per_device, self.channels_last, self.compile = max_per_device, channels_last, compile
        quiet_lightning()
        if precision == "auto":
            precision = choose_precision(lightning["accelerator"], mixed_precision, macs)
        if enable_checkpointing:
            folder = default_root_dir / "checkpoints"
            callbacks = [*callbacks, Checkpoints(folder, checkpoint_minutes, checkpoint_steps)]
        try:
            super().__init__(
                precision=precision,  # type: ignore[arg-type]
                logger=list(logger),
                callbacks=list(callbacks),
                plugins=[AtomicCheckpointIO()],
                default_root_dir=default_root_dir,
                enable_checkpointing=enable_checkpointing,
                num_sanity_val_steps=0,
                log_every_n_steps=0,  # the module and running/progress.py write to the loggers, Lightning need not
                use_distributed_sampler=False,  # the loaders split themselves, without padding
                enable_progress_bar=False,
                enable_model_summary=False,
                **lightning,
            )
        except TypeError as error:
            raise UserError(f"trainer: {str(error).split('__init__() ')[-1]} of Lightning's Trainer.") from error
        except (MisconfigurationException, ValueError) as error:
            raise UserError(f"trainer: {' '.join(str(error).split())}") from error

        if isinstance(self.strategy, DDPStrategy):
            # Each device keeps its own BN statistics through an epoch. DDP would overwrite them at its first forward
            # pass, so that a continued run would differ from one that was not stopped.
            self.strategy._ddp_kwargs.setdefault("broadcast_buffers", False)

    @property
    def device_name(self) -> str:
        device = self.strategy.root_device
        if device.type == "cuda":
            return torch.cuda.get_device_name(device)
        return f"CPU, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def choose_precision(accelerator: str, mixed_precision: bool, macs: float) -> str:
    """bf16-mixed on GPUs and CPUs that compute in it, 16-mixed on older GPUs, else 32-true."""
    if not mixed_precision:
        return "32-true"
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if fast and macs >= CPU_BF16_MACS else "32-true"


def quiet_lightning() -> None:
    """Lightning's announcements say what the first screen says."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # What the module logs at an epoch's end is of all devices already.
    warnings.filterwarnings("ignore", r".*sync_dist=True.*")
    warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated.*")  # Lightning 2.6 on torch 2.14
    warnings.filterwarnings("ignore", r".*module\(s\) in eval mode at the start.*")  # arch.freeze

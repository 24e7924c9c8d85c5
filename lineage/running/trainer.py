"""Lightning's Trainer with the machine's choices made: devices, precision, waiting times."""

import inspect
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins import environments
from pytorch_lightning.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lineage.errors import UserError
from lineage.recipes.graph import is_launch_bound, recomputes
from lineage.running.allocator import keep_freed_memory
from lineage.running.checkpoints import AtomicCheckpointIO
from lineage.running.precision import choose_precision

Devices = Annotated[list[Annotated[int, "x >= 0"]], "len(x) >= 1"]  # which
Limit = Annotated[int, "0 <= x"] | Annotated[float, "0 <= x <= 1"]
PROFILERS: dict[str, Any] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
HANDED_ON = (  # to Lightning's Trainer, unchanged
    "accelerator devices num_nodes sync_batchnorm max_epochs deterministic log_every_n_steps check_val_every_n_epoch "
    "limit_val_batches limit_test_batches detect_anomaly default_root_dir"
).split()


class Trainer(pl.Trainer):
    """Lightning's Trainer. It takes these arguments and some of Lightning's; the other ones of Lightning's are fixed.

    Args:
        precision: "auto" or one of Lightning's; "auto" is mixed where the device gains and `mixed_precision` allows it.
        mixed_precision: whether the recipe allows it.
        macs: multiply-adds of the network for one image.
        strategy: "ddp", or "auto", which is that where there are several devices.
        timeout_s: seconds that a device waits for the others.
        max_time: read by lineage/running/stopping.py, as are checkpoint_minutes and checkpoint_steps by
        lineage/running/checkpoints.py.
        max_per_device: most images in one forward pass that fit into a device's memory; None: any number does.
        channels_last: memory format of network and images.
        keep_memory: where the CPU trains, memory of freed tensors stays with the process
        (lineage/running/allocator.py).
        compile: whether to use torch.compile, or in which mode of Inductor's.
        graph: whether a micro-batch's passes are a CUDA graph; see `captures`.
        limit_train_batches: read by datamodules/loading/order.py, so that an epoch is that short for the schedule too.

    Raises:
        UserError: Lightning cannot have these values together, or this machine has no such device.
    """

    def __init__(
        self,
        *,
        accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"],
        devices: Literal["auto"] | Annotated[int, "x == -1 or 1 <= x <= 1024"] | Devices,
        num_nodes: Annotated[int, "1 <= x <= 10000"],
        strategy: Literal["auto", "ddp"],
        timeout_s: Annotated[float, "1 <= x <= 86400"],
        sync_batchnorm: bool,
        max_epochs: Annotated[int, "x >= 1"],
        max_time: str | None,
        max_per_device: Annotated[int, "1 <= x <= 1000000"] | None,
        precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"],
        mixed_precision: bool,
        channels_last: bool,
        keep_memory: bool,
        compile: bool | Literal["default", "max-autotune-no-cudagraphs", "reduce-overhead", "max-autotune"],
        graph: bool | Literal["auto"],
        deterministic: bool | Literal["warn"],
        benchmark: bool,
        log_every_n_steps: Annotated[int, "x >= 1"],
        checkpoint_minutes: Annotated[float, "0 <= x <= 100000"],
        checkpoint_steps: Annotated[int, "x >= 0"],
        check_val_every_n_epoch: Annotated[int, "x >= 1"],
        limit_train_batches: Annotated[int, "1 <= x"] | Annotated[float, "0 < x <= 1"],
        limit_val_batches: Limit,
        limit_test_batches: Annotated[int, "1 <= x"] | Annotated[float, "0 < x <= 1"],
        detect_anomaly: bool,
        profiler: Literal["simple", "advanced", "pytorch"] | None,
        macs: float = 0.0,
        logger: Sequence[Logger] = (),
        callbacks: Sequence[Callback] = (),
        default_root_dir: Path | None = None,
    ) -> None:
        prepare_process(keep_memory and (accelerator == "cpu" or not torch.cuda.is_available()))
        self.options = lightning_arguments(dict(locals()))
        self.max_per_device, self.channels_last, self.compile = max_per_device, channels_last, compile
        self.timeout_s, self.limit_of_steps, self.macs, self.graph = timeout_s, limit_train_batches, macs, graph
        with lightning_refuses("trainer"):
            super().__init__(**self.options)
        if self.precision != self.options["precision"]:  # Lightning took another one
            raise UserError(f"trainer.precision={precision}: this device takes {self.precision} or 32-true.")
        # Lightning's handler of SIGTERM, which waits for all ranks; lineage/running/stopping.py has the run's own.
        self._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        self._announce_waiting()

    def _announce_waiting(self) -> None:
        if self.num_nodes > 1 and self.is_global_zero:
            environment = self.strategy.cluster_environment  # type: ignore[attr-defined]
            place = f"{environment.main_address}:{environment.main_port}"
            waits = f"Waiting at {place} for the other {self.num_nodes - 1} of trainer.num_nodes={self.num_nodes} nodes"
            sys.stderr.write(f"{waits}, at most {self.timeout_s:g} s (trainer.timeout_s).\n")

    @cached_property
    def uncaptured(self) -> dict[str, bool]:
        """What stands against CUDA graphs, and whether it is so here."""
        return {
            "a device without CUDA": self.strategy.root_device.type != "cuda",
            "trainer.precision=16-mixed": self.precision == "16-mixed",  # its scale is the scaler's
            "trainer.compile": bool(self.compile),
            "trainer.detect_anomaly": self.options["detect_anomaly"],  # reads values on the host
            "trainer.sync_batchnorm": self.options["sync_batchnorm"] and self.world_size > 1,
        }

    def captures(self, network: nn.Module, images: int) -> bool:
        """Whether the passes of a micro-batch are captured as a CUDA graph (recipes/graph.py).

        With `graph` auto, they are where the GPU would wait for their launches, and the network is one of archs/, whose
        passes depend on tensors alone: a replay repeats the kernels, whatever Python would do.

        Raises:
            UserError: `graph` is true, and they cannot be.
        """
        against = {**self.uncaptured, "a network that recomputes activations": recomputes(network)}
        obstacle = next((name for name, found in against.items() if found), None)
        if self.graph is True and obstacle:
            raise UserError(f"trainer.graph=true: it does not go with {obstacle}; set auto.")
        if obstacle or self.graph != "auto":
            return not obstacle and bool(self.graph)
        return type(network).__module__.startswith("lineage.archs.") and is_launch_bound(network, self.macs * images)

    @property
    def device_name(self) -> str:
        device = self.strategy.root_device
        if device.type == "cuda":
            return torch.cuda.get_device_name(device)
        return f"CPU, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


@contextmanager
def lightning_refuses(key: str) -> Iterator[None]:
    """Raise Lightning's errors about a key as UserError."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise UserError(f"{key}: {' '.join(str(error).split())}") from error


def lightning_arguments(ours: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of Lightning's Trainer that follow from those of this project's."""
    accelerator, callbacks = ours["accelerator"], list(ours["callbacks"])
    count, precision = count_devices(accelerator, ours["devices"]), ours["precision"]
    several = ours["strategy"] == "ddp" or count * ours["num_nodes"] > 1
    folder, profiler = ours["default_root_dir"], PROFILERS.get(ours["profiler"])
    if precision == "auto":
        precision = choose_precision(accelerator, ours["mixed_precision"], ours["macs"])
    return {name: ours[name] for name in HANDED_ON} | {
        "precision": precision,
        "strategy": ddp(ours["timeout_s"]) if several else "auto",
        "benchmark": ours["benchmark"] and not ours["deterministic"],  # which kernels are fastest varies
        "profiler": profiler and profiler(dirpath=folder, filename="profile"),
        "logger": list(ours["logger"]),
        "callbacks": callbacks,
        "plugins": [AtomicCheckpointIO(), *slurm(count)],
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "enable_checkpointing": any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,  # the loaders split themselves, without padding
        "enable_model_summary": False,
    }


def ddp(timeout_s: float) -> DDPStrategy:
    """Each device keeps its own BN statistics through an epoch: DDP would overwrite them at its first forward pass, so
    that a continued run would differ from one that was not stopped."""
    parameters = inspect.signature(DistributedDataParallel.__init__).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"  # since torch 2.14
    # NCCL ends the process without a message, so lineage/running/ranks.py, which prints one, gets a minute's start
    wait = timedelta(seconds=timeout_s + 60 * torch.cuda.is_available())
    return DDPStrategy(timeout=wait, **{name: False})  # type: ignore[arg-type]


def slurm(devices: int) -> list[environments.ClusterEnvironment]:
    """In a job of SLURM: how its ranks start, `devices` on a node. A single task starts them, which Lightning leaves to
    srun. Lightning's own checkpoint is not written, since lineage/running/stopping.py requeues."""
    if not environments.SLURMEnvironment.detect() or environments.TorchElasticEnvironment.detect():
        return []
    if os.environ["SLURM_NTASKS"] == "1":
        return [environments.LightningEnvironment()]
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(devices))  # of --ntasks=, which config/checks.py has compared
    return [environments.SLURMEnvironment(auto_requeue=False)]


def count_devices(accelerator: str, devices: Any) -> int:
    """Devices of this machine that the run uses."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        with lightning_refuses(f"trainer.devices={devices}"):
            return len(CUDAAccelerator.parse_devices("-1" if devices == "auto" else devices) or [])
    if isinstance(devices, list):
        return len(devices)
    return int(devices) if str(devices).isdigit() else 1


def prepare_process(keep_memory: bool) -> None:
    """Set what the whole process shares: its memory, the precision of fp32, which messages of Lightning are shown."""
    # On a GPU fp32 convolutions run at TF32, as by cuDNN's default; other fp32 products keep all 24 bits, whatever the
    # environment says.
    torch.set_float32_matmul_precision("highest")
    if keep_memory:
        keep_freed_memory()
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for sentence in (
        r".*sync_dist=True.*",  # what the module logs at an epoch's end is of all devices already
        r".*LeafSpec.* is deprecated.*",  # Lightning 2.6 on torch 2.14
        r".*module\(s\) in eval mode at the start.*",  # freeze
        r".*smaller than the logging interval.*",
        r".*does not have many workers.*",
        r".*exists and is not empty.*",
        r".*it is recommended to use .devices=1.*",  # every sample is counted once on any number
        r".*The `srun` command is available.*",
        r".*AMP with fp16 is not supported on CPU.*",  # refused
    ):
        warnings.filterwarnings("ignore", sentence)
    # gloo's and NCCL's own lines about a dead peer, which lineage/running/ranks.py reports
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL" if "RANK" in os.environ else "ERROR")

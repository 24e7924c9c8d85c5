"""The first device of this machine, and the floating-point precision that it gains from."""

import torch

# Below this many multiply-adds an image, bf16 autocast costs a CPU more than it saves (benchmarks/README.md).
CPU_BF16_MACS = 10e6


def first_device(accelerator: str) -> torch.device:
    """The device of a command that uses one."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available() else "cpu")


def choose_precision(accelerator: str, mixed_precision: bool, macs: float) -> str:
    """bf16-mixed on GPUs and CPUs that compute in it, 16-mixed on older GPUs, else 32-true."""
    if not mixed_precision:
        return "32-true"
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true"
    return "bf16-mixed" if cpu_computes_in_bf16() and macs >= CPU_BF16_MACS else "32-true"


def cpu_computes_in_bf16() -> bool:
    """Whether this CPU has bf16 instructions; without them bf16 is a hundred times slower than fp32. torch has no
    public function for it."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()

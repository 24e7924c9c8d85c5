"""What holds the network back, and where its residual branches start."""

from __future__ import annotations

from dataclasses import dataclass

from lineage.recipes.keys.key import key


@dataclass
class Regularization:
    # Archs that have no such thing say so at the start of the run.
    zero_init_last: bool = key()  # residual branches start at zero (Goyal et al. 2017, arXiv 1706.02677)
    label_smoothing: float = key(0.0, high=1, below=True)
    dropout: float = key(0.0, high=1, below=True)
    drop_path: float = key(0.0, high=1, below=True)  # stochastic depth of the last block
    repeated_aug: int = key(0, high=1000)  # times an image is drawn in a row, augmented anew (arXiv 1902.05509)
    grad_clip: float = key(0.0, high=1e9)  # bound on the global gradient norm

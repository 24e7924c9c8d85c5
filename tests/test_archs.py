"""What every network under archs/ is held to, quickly: counts and gradients of every config, the rest by family.

The same checks on everything, which take minutes to hours, are in test_archs_proofs.py (`make proofs`).
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import checks
from archs import blocks, lenet
from networks import ROOT, build, configs, family, in_channels, rows, stage_tables
from oracles import case
from porting import PortingError, port

# The smallest network of each file under archs/, and the oracle that it is compared with.
MEMBERS = {
    "lenet": ("lenet5 arch.variant=1998", None),
    "resnet": ("resnet_cifar arch.depth=20 arch.shortcut=B", ("pytorchcv", "resnet20_cifar10")),
    "wideresnet": ("wideresnet arch.depth=16 arch.widen_factor=8", None),
}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_counts(row):
    """Parameters as in the table, exactly; multiply-adds within 0.1 %."""
    network = build(row.config, row.dataset, row.num_classes, device="meta").eval()
    assert sum(p.numel() for p in network.parameters()) == row.params
    if row.macs is None or row.config == "lenet5 arch.variant=1998":  # a counter sees neither its RBFs nor its links
        return
    image = torch.empty(1, in_channels(row.dataset), row.input_size, row.input_size, device="meta")
    with FlopCounterMode(display=False) as counter:
        network(image)
    assert counter.get_total_flops() / 2e6 == pytest.approx(row.macs, rel=1e-3)

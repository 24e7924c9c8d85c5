"""The predictions of an evaluation, image by image, gathered over devices."""

from typing import Any

import numpy
import torch
import torch.distributed as dist
from torch import Tensor


class Predictions:
    """Collects the rows of lineage/analysis/record.py on the device, where nothing waits for them.

    Of each image the `top` classes are kept, or all logits too, as float16; `exact` is whether the device has float64.
    """

    def __init__(self, *, top: int, keep_logits: bool, exact: bool) -> None:
        self.top, self.keep_logits = top, keep_logits
        self.dtype = torch.float64 if exact else torch.float32
        self.batches: list[dict[str, Tensor]] = []

    def add(self, index: Tensor, labels: Tensor, loss: Tensor, logits: Tensor) -> None:
        """Add images by their index in the split: labels, losses and logits (B, K)."""
        logits = logits.to(self.dtype)
        log_sum_exp = logits.logsumexp(dim=1)
        true_logit = logits.gather(1, labels[:, None])[:, 0]
        probabilities = (logits - log_sum_exp[:, None]).exp()
        top = probabilities.topk(min(self.top, logits.shape[1]), dim=1)
        true = (true_logit - log_sum_exp).exp()
        columns = {
            "index": index, "label": labels, "loss": loss.float(),
            "brier": ((probabilities**2).sum(dim=1) - 2 * true + 1).float(), "log_sum_exp": log_sum_exp,
            "true_logit": true_logit, "top_class": top.indices.int(), "top_probability": top.values.float(),
        }  # fmt: skip
        self.batches.append({**columns, "logits": logits.half()} if self.keep_logits else columns)

    def gather(self) -> dict[str, numpy.ndarray]:
        """The columns of all devices, which call this together, in the order of the data; each image once."""
        names = self.batches[0] if self.batches else ()
        own = {name: torch.cat([batch[name] for batch in self.batches]).cpu().numpy() for name in names}
        parts: list[Any] = [own]
        if dist.is_initialized() and dist.get_world_size() > 1:
            parts = [None] * dist.get_world_size()
            dist.all_gather_object(parts, own)
        parts = [part for part in parts if part]
        columns = {name: numpy.concatenate([part[name] for part in parts]) for name in parts[0]}
        _, order = numpy.unique(columns["index"], return_index=True)
        return {name: values[order] for name, values in columns.items()}

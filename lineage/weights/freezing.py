"""Fine-tuning of a network's last parts: `freeze=stages.1`."""

from __future__ import annotations

from torch import nn

from lineage.archs.arguments import ArchitectureError


def freeze(network: nn.Module, last: str) -> str:
    """Take the network's parts, from the first up to `last`, out of training; returns a sentence about it.

    Their parameters need no gradient, and they are in evaluation mode, in which Lightning leaves them: their batch
    normalisation does not move and nothing in them is dropped.

    Args:
        last: "stem", "stages.0", ..., or what stands between stages and head ("last"); of a timm model any of
            its children before the classifier.

    Raises:
        ArchitectureError: the network has no such part.
    """
    parts = _parts(network)
    if last not in parts:
        raise ArchitectureError(f"freeze={last}: it is one of {', '.join(parts)}.")
    for name in parts[: parts.index(last) + 1]:
        network.get_submodule(name).requires_grad_(False).eval()
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    total = sum(p.numel() for p in network.parameters())
    return f"frozen up to {last}: {trained:,} of {total:,} parameters are trained"


def _parts(network: nn.Module) -> list[str]:
    """Children with parameters, in order, the stages one by one, without the classifiers."""
    classifier = getattr(network, "pretrained_cfg", {}).get("classifier") or "head"  # timm's models tell theirs
    behind = {"aux", *(name.split(".")[0] for name in ([classifier] if isinstance(classifier, str) else classifier))}
    parts: list[str] = []
    for name, child in network.named_children():
        if name in behind or not any(True for _ in child.parameters()):
            continue
        stages = name == "stages" and isinstance(child, nn.Sequential)
        parts += [f"stages.{i}" for i, _ in enumerate(child.children())] if stages else [name]
    return parts

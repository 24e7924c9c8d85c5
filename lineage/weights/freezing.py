"""Freeze the first part of a network: `freeze=stages.1`."""

from torch import nn

from lineage.archs.arguments import ArchitectureError


def freeze(network: nn.Module, last: str) -> str:
    """Exclude the network's parts, from the first up to and including `last`, from training.

    Their parameters need no gradient, and they are in evaluation mode, in which Lightning leaves them: their batch
    normalisation keeps its statistics and they drop nothing.

    Args:
        last: "stem", "stages.0", ..., or what is between stages and head ("last"); of a timm model any of its children
            before the classifier.

    Returns:
        A sentence for the run's first screen.

    Raises:
        ArchitectureError: the network has no such part.
    """
    parts = trainable_parts(network)
    if last not in parts:
        raise ArchitectureError(f"freeze={last}: it is one of {', '.join(parts)}.")
    for name in parts[: parts.index(last) + 1]:
        network.get_submodule(name).requires_grad_(False).eval()
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    total = sum(p.numel() for p in network.parameters())
    return f"frozen up to {last}: {trained:,} of {total:,} parameters are trained"


def trainable_parts(network: nn.Module) -> list[str]:
    """The network's children that have parameters, in order, without classifiers; each stage is a part of its own."""
    classifier = getattr(network, "pretrained_cfg", {}).get("classifier") or "head"  # timm's models name theirs
    excluded = {"aux", *(name.split(".")[0] for name in ([classifier] if isinstance(classifier, str) else classifier))}
    parts: list[str] = []
    for name, child in network.named_children():
        if name in excluded or not any(True for _ in child.parameters()):
            continue
        stages = name == "stages" and isinstance(child, nn.Sequential)
        parts += [f"stages.{i}" for i, _ in enumerate(child.children())] if stages else [name]
    return parts

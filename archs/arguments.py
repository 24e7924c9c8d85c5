"""Types of the arguments of networks, and the error of a wrong argument.

These arguments mean the same in every family; a family documents only what differs:

    num_classes, in_channels    of the logits and of the images; with 0 classes a network returns its features
    stem                        "imagenet" is the paper's; "cifar", one 3x3 or a stride less, is for small images
    dropout                     the probability before the classifier
    drop_path                   stochastic depth of the last block; linear from 0 at the first
    norm_eps, norm_momentum     of batch normalisation
"""

from typing import Annotated, Literal

from lineage.constraints import argument_checker
from lineage.errors import UserError

# lineage/config/signatures.py reads these types from the source, so that a command is refused before torch is imported.
Count = Annotated[int, "x >= 1"]
Classes = Annotated[int, "0 <= x <= 1000000"]
Channels = Annotated[int, "1 <= x <= 1024"]
Multiplier = Annotated[float, "0 < x <= 32"]
Rate = Annotated[float, "0 <= x < 1"]  # a probability of dropping
Momentum = Annotated[float, "0 < x <= 1"]  # the share of the new value
Positive = Annotated[float, "x > 0"]
Stem = Literal["imagenet", "cifar"]
Block = Literal["basic", "bottleneck"]  # of residual networks
Shortcut = Literal["A", "B"]
ShortcutOrNone = Literal["A", "B", "none"]  # none: a plain network


class ArchitectureError(UserError, ValueError):
    """An argument that does not describe a network; the message is one sentence for the user."""


# Decorates a function that builds a network; class Network decorates the constructors.
checked = argument_checker(ArchitectureError, "arch.")

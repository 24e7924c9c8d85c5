"""The contract that every network keeps, and the functions that follow from it.

A network has four parts, named alike in every family, that run one after the other:

    stem      from the image to the first maps
    stages    nn.Sequential of stages; a layer that halves the maps is the first or the last of its stage
    last      between stages and head: a last convolution or normalisation, else nn.Identity()
    head      (B, C, H, W) -> (B, num_classes)

From these `class Network` derives the map after each stage, the channels and strides of the stages, a new classifier,
recomputation and the layers in order of depth. A family states

    min_size      the smallest side of an image that it accepts, in pixels
    notes         sentences that a user should read
    classifiers   names of the layers that return logits: the head's, then those of auxiliary heads
    aux_weights   the weight of the loss of each auxiliary head. In training, a network that has such heads returns
                  `(logits, [auxiliary logits, ...])`
    initialise    draws the initial weights of a layer
    logits_are_distances      whether logits are negative distances to class codes (LeNet-5 of 1998)
    start_from_data    computes filters from `images_to_start_from` normalised training images
    whiten_bias   the bias of a layer that whitens patches, which recipe.whiten_bias_epochs is about

and overrides `forward` for auxiliary heads, or `forward_intermediates` where stages pass on more than one map.

A network of your own may also be any nn.Module from images to logits; `check_contract` adds the rest.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any, NamedTuple, get_type_hints

from torch import Tensor, nn

from lineage.archs.arguments import ArchitectureError, checked
from lineage.archs.blocks import classifier, recompute
from lineage.constraints import problem
from lineage.text import as_yaml


class StageInfo(NamedTuple):
    """The map after a stage: its channels, and its stride in pixels of the image."""

    channels: int
    stride: int


class Stage(nn.Sequential):
    """Blocks in sequence. If `recomputed`, activations inside a block are not kept: the backward pass runs it again."""

    recomputed = False

    def forward(self, x: Any) -> Any:
        for block in self:
            x = self.run(block, x)
        return x

    def run(self, block: nn.Module, *inputs: Any) -> Any:
        return recompute(block, *inputs) if self.recomputed and self.training else block(*inputs)


def stack(
    blocks: Sequence[Callable[[int, int, int, float], nn.Module]],
    channels: Sequence[int], depths: Sequence[int], strides: Sequence[int], drop_paths: Iterable[float],
) -> nn.Sequential:  # fmt: skip
    """Build stages of blocks: stage i has depths[i] blocks, the first of which has stride strides[i].

    Args:
        blocks: for each stage, a function that makes a block from in_channels, out_channels, stride and drop_path.
        channels: of the input, then of each stage.
        drop_paths: a rate for each block of the network.
    """
    rates, stages = iter(drop_paths), nn.Sequential()
    rows = zip(blocks, pairwise(channels), depths, strides, strict=True)
    for block, (in_channels, out_channels), depth, stride in rows:
        first = block(in_channels, out_channels, stride, next(rates))
        stages.append(Stage(first, *(block(out_channels, out_channels, 1, next(rates)) for _ in range(depth - 1))))
    return stages


class Network(nn.Module):
    """Base of all networks under archs/; the docstring of this file lists what a family states."""

    stem: nn.Module
    stages: nn.Sequential
    last: nn.Module
    head: nn.Module
    min_size: Annotated[int, "x >= 1"]
    notes: list[str]
    classifiers: tuple[str, ...] = ("head.linear",)
    aux_weights: tuple[float, ...] = ()
    logits_are_distances = False
    preprocessing: Any = None  # of the images that its weights were trained on; None: unknown

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]

    def __init__(self) -> None:
        super().__init__()
        self.notes = []

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, list[Tensor]]:
        """(B, in_channels, H, W) -> (B, num_classes), or (B, num_features) without classes."""
        return self.head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """The input of the head: (B, in_channels, H, W) -> (B, C, H/stride, W/stride)."""
        return self.last(self.stages(self.stem(images)))

    def forward_intermediates(self, images: Tensor) -> list[Tensor]:
        """The map after each stage, as `stage_info` describes it."""
        x, maps = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    @property
    def stage_info(self) -> list[StageInfo]:
        """Channels and stride of the map after each stage, traced on the meta device, without computing."""
        tensors = [*self.parameters(), *self.buffers()]
        twin = copy.deepcopy(self, {id(tensor): tensor.detach().to("meta") for tensor in tensors}).eval()
        first = next(module for module in twin.modules() if isinstance(module, nn.Conv2d))
        # An image 256 pixels larger has a map 256 / stride larger, whatever the borders lose.
        near, far = (
            twin.forward_intermediates(first.weight.new_empty(1, first.in_channels, side, side))
            for side in (self.min_size + 64, self.min_size + 64 + 256)
        )
        return [StageInfo(a.shape[1], 256 // (b.shape[2] - a.shape[2])) for a, b in zip(near, far, strict=True)]

    @property
    def num_features(self) -> int:
        """Width of the classifier's input, which is the output if `num_classes` is 0."""
        features: Any = self.get_submodule(self.classifiers[0]).in_features
        return features

    def reset_classifier(self, num_classes: int) -> None:
        """Replace all classifiers, auxiliary ones too, by newly initialised ones; 0 removes them."""
        for name in self.classifiers:
            in_features: Any = self.get_submodule(name).in_features
            new = self.make_classifier(in_features, num_classes).to(next(self.parameters()))
            self.initialise(new)
            self.set_submodule(name, new)

    def make_classifier(self, in_features: int, num_classes: int) -> nn.Module:
        """The last layer of a head."""
        return classifier(in_features, num_classes)

    def initialise(self, module: nn.Module) -> None:
        """Draw the initial weights of one layer; by default they stay as its class draws them."""

    def checkpoint_gradients(self, on: bool = True) -> None:
        """Recompute the blocks of the stages in the backward pass: the same results, bit for bit, in less memory.

        Raises:
            ArchitectureError: neither `stages` nor one of them is a Stage.
        """
        stages = [module for module in (self.stages, *self.stages) if isinstance(module, Stage)]
        if not stages:
            raise ArchitectureError(f"{type(self).__name__} cannot recompute: its stages should be of class Stage.")
        for stage in stages:
            stage.recomputed = on

    def parameter_layers(self) -> list[list[str]]:
        """Names of all parameters from stem to head, those of one depth together, for layer-wise rates.

        A block of a stage is a layer, and so is a stage without blocks; auxiliary heads have the depth of the head.
        """
        names = [name for name, _ in self.named_parameters()]
        parts = ["stem."]
        for name, stage in self.stages.named_children():
            parts += [f"stages.{name}.{block}." for block, _ in stage.named_children()] or [f"stages.{name}."]
        parts.append("last.")
        layers = [[name for name in names if name.startswith(part)] for part in parts]
        heads = [name for name in names if name.split(".")[0] not in ("stem", "stages", "last")]
        return [layer for layer in (*layers, heads) if layer]

    def set_progress(self, share: float) -> None:
        """Called before every training step; `share` of all steps, from 0 to 1, is done."""


DEFAULTS = {"min_size": 1, "notes": [], "aux_weights": ()}


def check_contract(network: Any) -> None:
    """Check the attributes that a network states, and add the defaults of the others.

    So any nn.Module from images to logits can be trained, evaluated and exported: its `min_size` is 1, it has no
    `notes`, no auxiliary heads and nothing between stages and head, and its last linear layer is its classifier.

    Raises:
        ArchitectureError: an attribute is missing or wrong; the message says what it should be.
    """
    kind = type(network).__name__
    if not isinstance(network, nn.Module):
        raise ArchitectureError(f"arch builds a {kind}: it should build a torch.nn.Module from images to logits.")
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1:]
    _add_defaults(network, classifiers=tuple(linear))
    needed = ["stem", "stages", "head"] if type(network).forward is Network.forward else []
    needed += ["images_to_start_from"] if hasattr(network, "start_from_data") else []
    if missing := [attribute for attribute in needed if not hasattr(network, attribute)]:
        raise ArchitectureError(f"{kind}.{missing[0]} is missing: lineage/archs/network.py describes it.")
    annotations = get_type_hints(Network, include_extras=True)
    for attribute in (*DEFAULTS, "classifiers"):
        if wrong := problem(annotations[attribute], getattr(network, attribute, ())):
            raise ArchitectureError(f"{kind}.{attribute}={as_yaml(getattr(network, attribute))}: {wrong}")
    modules = dict(network.named_modules())
    for name in getattr(network, "classifiers", ()):
        if not hasattr(modules.get(name), "in_features"):
            raise ArchitectureError(
                f"{kind}.classifiers={as_yaml(network.classifiers)}: there is no layer {name}; it should name the "
                f"linear layers that return logits, {as_yaml(linear)} for example."
            )


def _add_defaults(network: Any, classifiers: tuple[str, ...]) -> None:
    for attribute, default in DEFAULTS.items():
        if not hasattr(network, attribute):
            setattr(network, attribute, copy.copy(default))
    if type(network).forward is Network.forward and not hasattr(network, "last"):
        network.last = nn.Identity()
    stated = getattr(network, "classifiers", None)
    inherited = stated is Network.classifiers and not hasattr(getattr(network, "head", None), "linear")
    if inherited or (stated is None and not hasattr(network, "get_classifier")):  # as timm's models have
        network.classifiers = classifiers

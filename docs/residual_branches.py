"""Print how large the residual branches of a run are, before and after training: python -m docs.residual_branches RUN

With recipe.zero_init_last=true all are 0 before: each block is the identity.
"""

import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lineage import assemble
from lineage.archs.blocks import DropPath
from lineage.config.saved_run import check_target
from lineage.recipes.augment.device import Normalise
from lineage.recipes.augment.host import EvalCrop
from lineage.reporting.training_images import evaluation_images
from lineage.running.directory import read_config

IMAGES = 64  # of the test set


@torch.no_grad()
def sizes(network: nn.Module, images: Tensor) -> dict[str, float]:
    """By block, the root mean square of f(x) over that of x, in x + f(x), for images (B, C, H, W).

    Normalisations use the statistics of these images, which those of an untrained network need.
    """
    inputs, branches = dict[str, Tensor](), dict[str, Tensor]()

    def note(sizes: dict[str, Tensor], block: str, _: nn.Module, given: tuple[Tensor]) -> None:
        sizes[block] = given[0].square().mean().sqrt()

    for name, module in network.eval().named_modules():
        if isinstance(module, DropPath):
            block = name.rpartition(".")[0]
            network.get_submodule(block).register_forward_pre_hook(partial(note, inputs, block))
            module.register_forward_pre_hook(partial(note, branches, block))
    for module in network.modules():
        module.train(isinstance(module, nn.BatchNorm2d))
    network(images)
    return {block: (branches[block] / inputs[block]).item() for block in branches}


def main(folder: Path) -> None:
    cfg = read_config(folder / "config.yaml")
    for group in ("arch", "datamodule"):
        check_target(folder / "config.yaml", group, cfg[group], ())
    data = assemble.data(cfg)
    data.connect_evaluation(IMAGES, None if data.test.one_size else EvalCrop(assemble.recipe(cfg)))
    pixels = torch.from_numpy(evaluation_images(data, torch.arange(IMAGES), data.test)).permute(0, 3, 1, 2)
    images = Normalise(data.mean, data.std)(pixels)
    before = sizes(assemble.network(cfg), images)
    cfg.pretrained = str(folder / "checkpoints" / "last.ckpt")
    after = sizes(assemble.network(cfg, weights=True, new_head=False), images)
    print("| block | before | after |", "|---|---|---|", sep="\n")
    for block in before:
        print(f"| {block} | {before[block]:.3f} | {after[block]:.3f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

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
from lineage.errors import UserError
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
    found = dict[str, Tensor]()  # by module, of its input

    def note(name: str, _: nn.Module, given: tuple[Tensor]) -> None:
        found[name] = given[0].square().mean().sqrt()

    branches = {name.rpartition(".")[0]: name for name, part in network.named_modules() if isinstance(part, DropPath)}
    for name in (*branches, *branches.values()):
        network.get_submodule(name).register_forward_pre_hook(partial(note, name))
    for module in network.modules():
        module.train(isinstance(module, nn.BatchNorm2d))
    network(images)
    return {block: (found[branch] / found[block]).item() for block, branch in branches.items()}


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
    rows = [f"| {block} | {size:.3f} | {after[block]:.3f} |" for block, size in before.items()]
    print("| block | before | after |", "|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))

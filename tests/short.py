"""Any recipe, with fewer epochs and smaller images, and the parts of a training that a command line asks for."""

from conftest import composed
from doors import ROOT

from lineage import assemble

RECIPES = sorted(path.stem for path in (ROOT / "conf" / "recipe").glob("*.yaml"))


def shortened(name: str, side: int = 32, batch_size: int = 8) -> list[str]:
    """The words of a command line for two epochs of a recipe at a small rate."""
    recipe = composed(f"recipe={name}").recipe
    words = {
        "epochs": 2, "batch_size": batch_size, "lr": 1e-3, "train_res": side, "test_res": side, "min_lr": 0,
        "warmup_epochs": min(recipe.warmup_epochs, 1), "warmup_lr": min(recipe.warmup_lr, 1e-4),
        "swa": min(recipe.swa, 1), "patience": min(recipe.patience, 1), "cutout": min(recipe.cutout, side // 2),
        "precise_bn": min(recipe.precise_bn, 16), "lookahead_steps": min(recipe.lookahead_steps, 2),
    }  # fmt: skip
    if recipe.decay_epochs:
        words["decay_epochs"] = "[1]"
    if recipe.schedule == "list":
        words["lrs"] = "[1e-3,1e-4]"
    if recipe.crop == "scale_jitter":
        words["crop_scale"] = f"[{side + 4},{2 * side}]"
    return [f"recipe={name}", *(f"recipe.{key}={value}" for key, value in words.items())]


def assembled(*words: str):
    """The classifier, data and trainer of a command line."""
    cfg = composed(*words)
    network = assemble.network(cfg)
    trainer = assemble.trainer(cfg, network)
    data = assemble.data(cfg)
    return assemble.classifier(cfg, network, data, trainer), data, trainer


def arch_of(name: str) -> list[str]:
    """The words for a small network that suits the recipe."""
    if composed(f"recipe={name}").recipe.loss == "rbf":
        return ["arch=lenet5", "arch.variant=1998"]
    return ["arch=resnet18", "arch.widths=[8,8,16,16]"]

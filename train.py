"""Train a convolutional network: python train.py arch=wideresnet recipe=rsb_a2 datamodule=cifar10"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import hydra
from omegaconf import DictConfig, OmegaConf

from recipes.recipe import Recipe
from running import errors, schema  # noqa: F401  # neither imports torch: a wrong command is refused before that

if TYPE_CHECKING:
    from torch import nn

    from datamodules.base import ImageDataModule
    from recipes.classifier import Classifier
    from running.trainer import Trainer


ABOUT_THE_NETWORK = ("resolution", "pretrained", "freeze", "released")  # in arch, and not arguments of the class


def build_network(cfg: DictConfig, pretrained: str | None = None) -> nn.Module:
    """The network of the config, of random weights that are a function of the seed, or of `pretrained` ones.

    Raises:
        UserError: the data's images are too small for it.
        ArchitectureError: an argument, or the weights, do not fit it.
    """
    import torch
    from hydra.utils import instantiate

    torch.manual_seed(cfg.seed)
    network = instantiate({key: value for key, value in cfg.arch.items() if key not in ABOUT_THE_NETWORK})
    network.remarks = [*getattr(network, "remarks", [])]  # for the run's first screen
    key, side = "datamodule.resolution", cfg.datamodule.resolution
    if side is None:
        side, key = min((cfg.recipe[name], f"recipe.{name}") for name in ("train_res", "test_res"))
    if side < network.min_size:
        name, least = type(network).__name__, network.min_size
        raise errors.UserError(f"{name} needs images of at least {least}x{least}; {key}={side} is too small.")

    if pretrained:
        from archs.pretrained import load

        network.remarks += load(network, pretrained, cfg.arch, cfg.datamodule.mean, cfg.datamodule.std)
    if cfg.arch.freeze:
        from archs.freezing import freeze

        network.remarks.append(freeze(network, cfg.arch.freeze))
    return network


def build(cfg: DictConfig, network: nn.Module, trainer: Trainer) -> tuple[Classifier, ImageDataModule]:
    """Data, augmentation and module of the config: what is handed to Lightning."""
    import torch
    from hydra.utils import instantiate

    from datamodules.order import Order, check_last_step, split_batch
    from recipes.augmentation import Augmentation, EvaluationCrop
    from recipes.classifier import Classifier

    recipe = cast(Recipe, OmegaConf.to_object(cfg.recipe))
    datamodule = instantiate(cfg.datamodule)
    datamodule.load(share=trainer.world_size > 1)
    native = datamodule.train.in_memory

    order = Order(len(datamodule.train), recipe.batch_size, recipe.repeated_aug, recipe.drop_last, cfg.seed)
    split = split_batch(recipe.batch_size, trainer.world_size, trainer.max_per_device)
    check_last_step(order, split)
    facts = {"mirror": datamodule.mirror, "mean": datamodule.mean, "std": datamodule.std, "native": native}
    augmentation = Augmentation(recipe, seed=cfg.seed, **facts)
    crop = None if native else EvaluationCrop(recipe)
    datamodule.connect(order, split, augmentation.in_workers, crop, min(trainer.max_per_device, 256))

    if trainer.channels_last:
        network.to(memory_format=torch.channels_last)
    if trainer.compile:
        network.compile()  # in place: the names in checkpoints stay
    classifier = Classifier(
        network,
        recipe,
        augmentation,
        num_classes=datamodule.num_classes,
        seed=cfg.seed,
        steps_per_epoch=order.steps_per_epoch,
        channels_last=trainer.channels_last,
        log_every_n_steps=trainer.row_steps,
    )
    return classifier, datamodule


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@errors.for_people()
def main(cfg: DictConfig) -> float:
    from running.run import Run

    run = Run(cfg)
    network = build_network(cfg, cfg.arch.pretrained if run.checkpoint is None else None)
    trainer = run.build_trainer(network)
    classifier, datamodule = build(cfg, network, trainer)
    run.show_plan(classifier, datamodule)
    trainer.fit(classifier, datamodule=datamodule, ckpt_path=run.checkpoint, weights_only=True)
    return run.test(classifier, datamodule)


if __name__ == "__main__":
    with errors.for_people():
        main()

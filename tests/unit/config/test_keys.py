"""Each key, changed, changes what it is about and nothing else: of a recipe, and of a data set and a trainer too.

tests/golden/keys.yaml has the changed values, and by name the things that they change. These things are looked at in
the parts that a command line assembles; nothing is trained.
"""

import copy
import functools
from typing import Any

import pytest
import torch
import yaml
from conftest import composed_once
from doors import ROOT
from omegaconf import OmegaConf
from runs.pictures import write_folders
from torch import Tensor, nn

from lineage import assemble
from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.images import Images, View
from lineage.datamodules.loading.loader import MicroBatch, Request, Stream
from lineage.datamodules.loading.worker_pool import Job
from lineage.recipes.classifier import Classifier
from lineage.recipes.micro_batch import MicroBatchKey, micro_batch_input, micro_batch_loss
from lineage.recipes.mixing import Mix, soft_targets
from lineage.recipes.recipe import ANNOTATIONS
from lineage.text import as_yaml

TABLE = yaml.safe_load((ROOT / "tests" / "golden" / "keys.yaml").read_text())
PARTS = TABLE["parts"]
CHANGES = [(place, key, *change) for place, part in enumerate(PARTS) for key, change in part["keys"].items()]
KEYS = torch.tensor([[0, sample, repetition] for sample in range(8) for repetition in (0, 1)])  # epoch 0
LABELS = torch.tensor([0, 1, 1, 1])


class Fixed(nn.Module):
    """A network of these logits, (4, K)."""

    def __init__(self, seed: int, classes: int) -> None:
        super().__init__()
        self.logits = torch.randn(4, classes, generator=torch.Generator().manual_seed(seed))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


class Corner(nn.Module):
    """A network whose logits, (B, K), are once, twice, ... the first pixels of an image."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, : self.classes] * torch.arange(1, self.classes + 1)


def batch_of(data: ImageDataModule, images: Images, view: View | None, keys: Tensor) -> MicroBatch:
    stream = Stream("start", Job(images, view), torch.device("cpu"), None, data.report)
    (batch,) = stream(iter([Request((0, 0), keys, 0, 1.0)]), 1)
    return batch


def inputs(classifier: Classifier, data: ImageDataModule) -> tuple[list[Tensor], list[Tensor]]:
    """Pixels and targets of three micro-batches, of two epochs."""
    found = []
    for epoch, step, chunk in ((0, 0, 0), (1, 4, 1), (1, 5, 1)):
        keys = KEYS + torch.tensor([epoch, 0, 0])
        batch = batch_of(data, data.train, data.training_view, keys)
        found.append(
            micro_batch_input(
                classifier.recipe, classifier.augment, batch.images, batch.labels, keys, epoch=epoch,
                num_classes=data.num_classes, key=MicroBatchKey(classifier.seed, step, chunk),
                memory_format=torch.contiguous_format,
            )
        )  # fmt: skip
    pixels, targets = zip(*found, strict=True)
    return pixels, targets


def loss(classifier: Classifier) -> Tensor:
    recipe, classes = classifier.recipe, classifier.num_classes
    targets = LABELS if recipe.loss != "bce" else soft_targets(recipe, LABELS, classes, Mix(0.9, None))
    teacher = classifier.teachers[0] if classifier.teachers else None
    pixels = torch.zeros(4, 3, 8, 8)
    network = Fixed(0, classes)
    return micro_batch_loss(network, recipe, teacher, pixels, LABELS, targets, classifier.class_weights)[0]


def rates(classifier: Classifier, optimizer: torch.optim.Optimizer) -> list[float | bool]:
    """By step, of each group, and after an epoch without a better accuracy whether the training ends."""
    found: list[float | bool] = []
    classifier.optimizers = lambda: optimizer
    for step in range(classifier.total_steps):
        classifier._set_learning_rate(step)
        found += dict.fromkeys(group["lr"] / group["lr_scale"] for group in optimizer.param_groups)
        if (step + 1) % classifier.steps_per_epoch == 0:
            classifier.plateau.after_epoch(0.5)
            found.append(classifier.plateau.ended)
    return found


def averaged(classifier: Classifier) -> list[float]:
    """A weight that is set to the number of each step, after it, and its average, if there are averages."""
    networks = [classifier.network, *(average.network for average in classifier.averages)]
    weights, found = [next(p.data for p in network.parameters() if p.ndim == 1) for network in networks], []
    for step in range(classifier.total_steps if classifier.averages or classifier.lookaheads else 0):
        weights[0][0] = step + 1
        for lookahead in classifier.lookaheads:
            lookahead.after_step(classifier.network, step, classifier.total_steps)
        for average in classifier.averages:
            average.after_step(classifier.network, step, classifier.steps_per_epoch)
        found += [weight[0].item() for weight in weights]
    return found


def gradient(classifier: Classifier, optimizer: torch.optim.Optimizer, batch: MicroBatch) -> tuple[float, float]:
    """That of a step whose loss is a weight; and the greatest of all weights' after clipping, where each is 1."""
    weight = torch.ones(1, requires_grad=True)
    classifier.manual_backward = lambda loss: loss.backward()
    classifier.forward_pass = lambda pixels, labels, targets: (weight.sum(), labels.new_zeros(()))
    classifier.on_fit_start()
    classifier._accumulate_gradients([batch], 0)
    for parameter in classifier.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    classifier.on_before_optimizer_step(optimizer)
    assert weight.grad is not None
    return weight.grad.item(), max(float(parameter.grad.max()) for parameter in classifier.network.parameters())


def statistics(classifier: Classifier) -> list[int]:
    """Of how many images they are computed."""
    found: list[int] = []
    classifier.training_images = lambda count, epoch: iter(found.append(count) or ())
    classifier.statistics_are_stale = True
    classifier.refresh_statistics()
    return found


def looks(words: str, *changes: str) -> dict[str, Any]:
    """The things, by their names, that the words of a command make, with some values changed."""
    cfg = copy.deepcopy(composed_once(*words.split()))
    for key, value in (change.split("=") for change in changes):
        OmegaConf.update(cfg, key, yaml.safe_load(value))
    network, data = assemble.network(cfg), assemble.data(cfg)
    trainer = assemble.trainer(cfg, network)
    classifier = assemble.classifier(cfg, network, data, trainer)
    network, order, optimizer = classifier.network, data.order, classifier.configure_optimizers()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = [
        {"params": [names[id(p)] for p in group["params"]]} | {k: v for k, v in group.items() if k not in LEFT_OUT}
        for group in optimizer.param_groups
    ]
    classifier.trainer = data.trainer = trainer
    pixels, targets = inputs(classifier, data)
    batch = batch_of(data, data.train, data.training_view, KEYS)
    test = batch_of(data, data.test, data.test_view, KEYS[::2] * torch.tensor([1, 1, 0]))
    initial = [tensor.clone() for tensor in network.state_dict().values()]
    modes = [(module.training, list(module._parameters)) for module in network.modules()]
    kept = [parameter.requires_grad for parameter in network.parameters()]
    found = {
        "data": (len(data.train), len(data.val), data.held_out, data.workers, data.class_names()),
        "order": (order.steps_per_epoch, order.epoch(0)),
        "split": data.split,
        "length": (classifier.recipe.total_epochs, data.epochs, trainer.max_epochs),
        "network": (repr(network), initial, modes, kept),
        "pixels": pixels,
        "targets": targets,
        "loss": loss(classifier),
        "optimizer": (type(optimizer).__name__, groups),
        "rates": rates(classifier, optimizer),
        "gradient": gradient(classifier, optimizer, batch),
        "average": averaged(classifier),
        "statistics": statistics(classifier),
        "test images": test.images,
        **{
            stage: classifier._values(Corner(data.num_classes), classifier.normalise(test.images), test, stage)
            for stage in ("val", "test")
        },
        **{f"trainer.{name}": getattr(trainer, name) for name in TRAINER},
        "precision": trainer.precision,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "detect_anomaly": trainer._detect_anomaly,
        "profiler": type(trainer.profiler).__name__,
    }
    return {name: plain(value) for name, value in found.items()}


LEFT_OUT = ("params", "lr", "initial_lr", "fused")  # of a group; rates are looked at, and clipping decides `fused`
TRAINER = (
    "num_nodes", "limit_val_batches", "limit_test_batches", "log_every_n_steps", "check_val_every_n_epoch",
    "max_per_device", "channels_last", "compile", "graph", "timeout_s",
)  # fmt: skip


def plain(value: Any) -> Any:
    """A value that can be compared."""
    if isinstance(value, Tensor):
        return value.shape, value.tolist()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    """Looks at what words assemble, with a teacher of fixed logits and a device that gains from mixed precision."""
    folder = tmp_path_factory.mktemp("keys")
    write_folders(folder / "pictures", count=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "teacher", lambda cfg: Fixed(1, cfg.datamodule.num_classes))
        patch.setattr(
            "lineage.running.trainer.choose_precision", lambda _, mixed, macs: "bf16-mixed" if mixed else "32-true"
        )
        yield functools.cache(lambda words, *changes: looks(words.format(folder=folder), *changes))
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("place", "key", "value", "things"), CHANGES, ids=lambda value: str(value))
def test_a_key_changes_what_it_is_about(place, key, value, things, look):
    part = {**PARTS[0], **PARTS[place]}
    words = " ".join([part["arch"], part["data"], PARTS[0]["recipe"], part["recipe"]])
    changes = f"{key}={value if isinstance(value, str) else as_yaml(value)}".split()
    before, after = look(words), look(words, *changes)
    assert [name for name in before if before[name] != after[name]] == sorted(things.split(","), key=[*before].index)


def test_every_key_is_changed():
    changed = {group: {key.split(".")[1] for _, key, *_ in CHANGES if key.startswith(group)} for group in GROUPS}
    trainer = composed_once("trainer=cpu").trainer.keys() - {"_target_", "mixed_precision"}
    assert changed["recipe"] == ANNOTATIONS.keys()
    assert changed["trainer"] == trainer - set(" ".join(TABLE["elsewhere"]).split())


GROUPS = ("recipe", "trainer")

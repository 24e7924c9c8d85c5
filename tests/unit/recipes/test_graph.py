"""A micro-batch's passes as a graph: training ends with the same bits as without.

Without a GPU, a replay calls the same passes, which read and write the memory that a graph would.
"""

from functools import partial

import pytest
import torch
import torch.distributed as dist
from conftest import composed
from doors import FORKS
from pytorch_lightning.callbacks import LambdaCallback
from runs.states import assert_same_state
from short import assembled, shortened
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from lineage import assemble
from lineage.errors import UserError
from lineage.recipes import graph
from lineage.recipes.graph import MicroBatchGraphs

DEVICE = "gpu" if torch.cuda.is_available() else "cpu"
# Two epochs of a step of 32 images and one of 16, in two micro-batches each.
STEPS = f"trainer={DEVICE} trainer.deterministic={DEVICE == 'gpu'} trainer.benchmark=false trainer.max_per_device=16 "
STEPS += "recipe.drop_last=false recipe.epochs=2 datamodule.val_size=1389 trainer.limit_val_batches=1"
RESNET = "arch=resnet_cifar arch.depth=8 arch.shortcut=B "
CASES = {
    "clipped": RESNET + "recipe=sgd_step recipe.grad_clip=1",
    "everything": RESNET + "recipe=rsb_a2 recipe.rand_augment='' recipe.ema=0.9 recipe.precise_bn=64 "
    "recipe.lookahead=0.5 recipe.lookahead_steps=2",
    "bf16": RESNET + "recipe=sgd_step trainer.precision=bf16-mixed",
    "dropout": "recipe=wrn arch=wideresnet arch.depth=10 arch.widen_factor=1 recipe.dropout=0.3",
    "growing drop path": "recipe=nasnet_cifar arch=nasnet_a_cifar arch.filters=8 arch.repeats=1",
    "starts from data": "recipe=speedrun arch=airbench arch.widths=[8,8,8]",
    "rbf": "recipe=lenet_1998 arch=lenet5 arch.variant=1998",
}


class CallsAgain:
    """Stands in for graph.Recorder."""

    def __call__(self, work):
        assert not (torch.is_autocast_enabled("cpu") and torch.is_autocast_cache_enabled())  # of weights, once cast
        results = [work() for _ in range(2)][-1]  # warms up, which must leave no trace

        def replay():
            for result, new in zip(results, work(), strict=True):
                result.copy_(new)

        return replay, results


@pytest.fixture(autouse=DEVICE == "cpu")
def without_a_gpu(monkeypatch):
    monkeypatch.setattr(graph, "Recorder", CallsAgain)


def words_of(case: str) -> list[str]:
    name = next(word for word in case.split() if word.startswith("recipe=")).removeprefix("recipe=")
    return [*shortened(name, batch_size=32), *case.split(), *STEPS.split()]


def fitted(folder, words, captures, save_at=None, resume=None):
    """A classifier that was trained, its state in `folder`; that after step `save_at` is in saved.ckpt."""
    classifier, data, trainer = assembled(*words)
    classifier.captures = captures

    def save(*_):
        if trainer.global_step == save_at:
            trainer.save_checkpoint(folder / "saved.ckpt")

    trainer.callbacks.append(LambdaCallback(on_train_batch_end=save))
    trainer.fit(classifier, datamodule=data, ckpt_path=resume)
    trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
    return classifier


@pytest.mark.parametrize("name", CASES)
def test_graphs_change_no_bit(tmp_path, name):
    """Nor does a kill in the middle of an epoch."""
    words = words_of(CASES[name])
    fitted(tmp_path / "plain", words, captures=False)
    fitted(tmp_path / "graphs", words, captures=True, save_at=3)
    fitted(tmp_path / "resumed", words, captures=True, resume=tmp_path / "graphs" / "saved.ckpt")
    for other in ("graphs", "resumed"):
        assert_same_state(tmp_path / "plain", tmp_path / other)


def average_over_two_devices(rank: int, path: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    torch.manual_seed(rank)
    network, graph.Recorder = DistributedDataParallel(torch.nn.Linear(3, 5)), CallsAgain
    images, labels = torch.randn(2, 8, 3), torch.randint(0, 5, (2, 8))
    graphs = MicroBatchGraphs(network, lambda x, y, _: (F.cross_entropy(network.module(x), y), y.sum()))
    for index in range(2):
        graphs.run((images[index], labels[index], labels[index]), 0.5, first=index == 0)
    graphs.finish_step()
    ours = [parameter.grad for parameter in network.parameters()]
    network.zero_grad()
    with network.no_sync():
        (0.5 * F.cross_entropy(network(images[0]), labels[0])).backward()
    (0.5 * F.cross_entropy(network(images[1]), labels[1])).backward()
    assert all(torch.equal(parameter.grad, own) for parameter, own in zip(network.parameters(), ours, strict=True))


def test_gradients_are_averaged_over_devices_as_by_ddp(tmp_path):
    act, store = average_over_two_devices, str(tmp_path / "store")
    ranks = [FORKS.Process(target=act, args=(rank, store), daemon=True) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(300)
    assert [rank.exitcode for rank in ranks] == [0, 0]


def on_a_gpu(*words: str):
    """A trainer that takes its device for a GPU, and the network."""
    cfg = composed("trainer=cpu", *words)
    network = assemble.network(cfg, device="meta")
    trainer = assemble.trainer(cfg, network)
    trainer.uncaptured["a device without CUDA"] = False
    return trainer, network


@pytest.mark.parametrize(
    ("words", "images", "captured"),
    [
        ("arch=resnet_cifar arch.depth=20 datamodule=cifar10", 128, True),
        ("arch=resnet_cifar arch.depth=20 datamodule=cifar10 trainer.graph=false", 128, False),
        ("arch=resnet50 datamodule=imagenet", 128, False),
        ("arch=resnet50 datamodule=imagenet trainer.graph=true", 128, True),
        ("arch=densenet_bc arch.memory_efficient=true datamodule=cifar10", 64, False),
        ("arch=timm arch.model_name=resnet18 datamodule=cifar10", 1, False),  # whose code is not known
    ],
)
def test_small_networks_are_captured(words, images, captured):
    trainer, network = on_a_gpu(*words.split())
    assert trainer.captures(network, images) is captured


def test_a_graph_that_cannot_be_is_refused():
    with pytest.raises(UserError, match="trainer.graph=true: it does not go with a device without CUDA; set auto"):
        assembled("trainer=cpu", "trainer.graph=true")
    trainer, network = on_a_gpu("trainer.graph=true", "trainer.detect_anomaly=true")
    with pytest.raises(UserError, match="it does not go with trainer.detect_anomaly"):
        trainer.captures(network, 1)


def test_a_network_is_compiled_once_to_train_and_once_to_evaluate(tmp_path, monkeypatch):
    """Whatever the size of a batch."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    words = [*words_of(CASES["clipped"]), "trainer.limit_val_batches=1.0", "trainer.compile=true"]
    fitted(tmp_path, words, captures=False)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2

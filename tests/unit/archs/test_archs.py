"""What every network under archs/ is held to: counts and gradients of every config, the rest quickly by family.

The rest about everything takes an hour: `make proofs`.
"""

import re
import subprocess
import sys

import checks
import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from networks import ROOT, WRONG, build, channels_of, composed, configs, family, in_channels, proofs, rows, stage_tables
from oracles import CLASSES, DATA, build_oracle, case, cases, quick
from porting import disagreement
from torch import nn

import lineage
from lineage.anatomy.cost import MultiplyAdds, count_parameters
from lineage.archs import branches, catalogue, genotype, nasnet
from lineage.archs.arguments import ArchitectureError
from lineage.archs.network import Network, check_contract

# Of each family a network for what takes steps or traces: the smallest of the golden table, or one that is quicker.
SMALL = {family(row.config): row.arch for row in sorted(rows(), key=lambda row: -row.params)} | {
    "airbench": "airbench",
    "alexnet": "alexnet arch.variant=2014",
    "bn_inception": "bn_inception arch.se=true",
    "densenet": "densenet_bc arch.depth=22 arch.growth_rate=8",
    "googlenet": "googlenet arch.aux_heads=true",
    "inception_v3": "inception_v3 arch.aux_heads=true",
    "mobilenet": "mobilenet_v2",
    "nasnet": "nasnet_a_cifar arch.repeats=1 arch.filters=8",
    "preact_resnet": "preact_resnet_cifar arch.depth=20",
    "resnext": "resnext29 arch.base_width=4",
    "vgg": "vgg11_bn arch.widths=[16,32,32,32,32]",
    "wideresnet": "wideresnet arch.depth=16 arch.widen_factor=2",
}


def test_every_network_is_in_the_golden_table():
    """A new family needs its rows there and nothing else: all tests below then take it in."""
    named = {row.arch.split()[0] for row in rows()} | {"airbench", "efficientnet", "nasnet_cell", "timm"}
    missing = set(catalogue.names()) - named
    assert not missing, (
        f"tests/golden/architectures.csv has no row for {', '.join(sorted(missing))}: add one for each variant, whose "
        "config is what follows arch= in a command, and params the exact count of the paper or of an oracle."
    )


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_counts(row):
    """Parameters as in the table, exactly; multiply-adds within 0.1 %."""
    network = build(row.config, row.dataset, row.num_classes, device="meta").eval()
    assert count_parameters(network) == row.params
    image = torch.empty(1, in_channels(row.dataset), row.input_size, row.input_size, device="meta")
    with MultiplyAdds() as counter:
        logits = network(image)
    assert logits.shape == (1, row.num_classes)  # in evaluation, auxiliary heads are silent
    # A counter sees neither the RBFs nor the missing links of LeNet-5 (1998).
    if row.macs is not None and row.name != "LeNet-5 (1998, exact)":
        assert counter.total / 1e6 == pytest.approx(row.macs, rel=1e-3)


@pytest.mark.parametrize(
    ("config", "params"),
    [
        ("nasnet_a_mobile", 7_701_218), ("nasnet_a_large", 93_320_934), ("nasnet_a_cifar", 4_978_036),
        ("googlenet", 13_378_280),
    ],
)  # fmt: skip
def test_auxiliary_heads(config, params):
    """Their published counts; logits at the smallest image and at a larger one, in training only."""
    network = build(f"{config} arch.aux_heads=true", device="meta")
    assert count_parameters(network) == params
    for side in (network.min_size, 97):
        logits, auxiliary = network.train()(torch.empty(2, 3, side, side, device="meta"))
        assert [aux.shape for aux in auxiliary] == [logits.shape] * len(network.aux_weights)
        assert isinstance(network.eval()(torch.empty(2, 3, side, side, device="meta")), torch.Tensor)


@pytest.mark.parametrize("config", configs())
def test_contract(config):
    checks.check_contract(config)


ONE_A_FILE = {family(config): config for config in reversed(configs()) if config != "timm"}.values()
QUICKLY = [SMALL[name] for name in ("densenet", "googlenet", "mobilenet", "nasnet", "preact_resnet", "vgg")]


@pytest.mark.parametrize("config", [*QUICKLY, *proofs(ONE_A_FILE)])
def test_recomputation(config):
    checks.check_recomputation(config)


# Timm's VGGs hand on maps before the pooling, ours after it.
TIMMS = [compared for compared in cases() if compared.source == "timm" and not compared.name.startswith("vgg")]


@pytest.mark.parametrize("compared", [*quick("maps"), *proofs(TIMMS, quick("maps"))], ids=str)
def test_intermediates(compared):
    checks.check_intermediates(compared)


@pytest.mark.parametrize("config", stage_tables())
def test_stages(config):
    """Channels and sides as the paper's table or figure prints them, or as its misprints must read."""
    network, table, found = build(config, device="meta").eval(), stage_tables()[config], {}

    def record(name):
        def hook(module, inputs, output):
            x = output[0] if isinstance(output, tuple) else output  # a NASNet cell hands on two maps
            found[name] = tuple(x.shape[1:])

        return hook

    for stage in table:
        network.get_submodule(stage["module"]).register_forward_hook(record(stage["module"]))
    side = int(table[0]["input_size"])
    network(torch.empty(1, channels_of(config), side, side, device="meta"))
    assert found == {row["module"]: (int(row["channels"]), int(row["side"]), int(row["side"])) for row in table}


@pytest.mark.parametrize("compared", [*quick("logits"), *proofs(cases(), quick("logits"))], ids=str)
def test_logits(compared):
    checks.check_logits(compared, batch=2, image=107 if compared.image == 139 else None)  # 107: the last maps are 2x2


@pytest.mark.proofs
def test_inception_resnet_v1_features():
    """pytorchcv's (facenet's) has another head, and a sixth block at the end; all else is the paper's."""
    compared = case("inception_resnet_v1", "pytorchcv", "inceptionresnetv1")
    ours, oracle = build(compared.config, num_classes=CLASSES).double(), build_oracle(compared).double()
    ours.head, oracle.output, oracle.features.final_pool = nn.Flatten(1), nn.Identity(), nn.Identity()
    oracle.features.stage3.unit7 = nn.Identity()
    images = checks.noise(2, 3, compared.image, compared.image, dtype=torch.float64)
    found = disagreement(ours, oracle, images, order={})
    assert all(found[what] < checks.TOLERANCE[what] for what in checks.TOLERANCE), found


GATED = [case(*triple) for triple in DATA["gated"]]


@pytest.mark.parametrize("plain", [GATED[0], *proofs(GATED[1:])], ids=str)
def test_gates(plain):
    checks.check_gates(f"{plain.config} arch.se=true", plain, batch=2)


@pytest.mark.parametrize("config", [*SMALL.values(), *proofs(configs(), SMALL.values())])
def test_learns(config):
    checks.check_learns(config, dataset="cifar10" if config in SMALL.values() else None, steps=5)


@pytest.mark.parametrize("config", [*SMALL.values(), *proofs(configs(), SMALL.values())])
def test_formats(config):
    checks.check_formats(config, dataset="cifar10" if config in SMALL.values() else None)


@pytest.mark.proofs
@pytest.mark.parametrize("check", [checks.check_export, checks.check_compile])
@pytest.mark.parametrize("config", configs())
def test_export_and_compilation(config, check):
    check(config)


@pytest.mark.parametrize("config", SMALL.values())
def test_images_that_are_not_square(config):
    """Each side of a map follows from that side of the image alone, and the images stay as they were."""
    network = build(config, "cifar10", num_classes=7).eval()
    height, width = network.min_size + 11, network.min_size
    twin = build(config, "cifar10", device="meta").eval()

    def maps(*size: int) -> list[torch.Size]:
        return [x.shape for x in twin.forward_intermediates(torch.empty(1, 3, *size, device="meta"))]

    square = zip(maps(height, height), maps(width, width), strict=True)
    assert [shape[2:] for shape in maps(height, width)] == [(a[2], b[3]) for a, b in square]
    images = checks.noise(2, 3, height, width)
    before = images.clone()
    assert network(images).shape == (2, 7) and torch.equal(images, before)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance"])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_any_cell(stem, norm):
    """Of two cells that nobody has searched each parameter gets a gradient, inputs that no block reads included."""
    cells = "1sep3.1conv1_2avg3+1dil3-0max5+0conv1x7_1identity.2identity"
    network = nasnet.NASNet(cells, 1, 8, 7, stem=stem, norm=norm)
    checks.loss(network, checks.noise(2, 3, network.min_size, network.min_size), torch.tensor([0, 6])).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.num_features == 4 * (8 + 8)  # of states 0 and 3; 1 and the concatenation 2 are read


def test_a_word_builds_nasnet_a():
    """Tensor by tensor the network of the name, and what conf/arch/nasnet_cell.yaml states is that word."""
    word = genotype.CELLS["nasnet_a"]
    assert catalogue.read("nasnet_cell").arch.cells == word
    named = build("nasnet_a_cifar", "cifar10", 10).state_dict()
    same = build("nasnet_cell arch.repeats=6 arch.filters=32 arch.stem_channels=96", "cifar10", 10).state_dict()
    assert list(same) == list(named) and all(torch.equal(same[name], named[name]) for name in named)


@pytest.mark.parametrize(("config", "sentence"), WRONG["arguments"].items())
def test_wrong_arguments(config, sentence):
    """One sentence that names what is possible."""
    with pytest.raises(ArchitectureError, match=re.escape(sentence)):
        build(config)


class Mine(nn.Module):
    """A network of a user's own, which states nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4, 10)

    def forward(self, images):
        return self.fc(self.conv(images).mean((2, 3)))


class Ours(Network):
    """One with another head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stages = nn.Conv2d(1, 4, 3), nn.Sequential()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(4, 10))


def test_any_module_is_a_network():
    for mine, classifier in ((Mine(), "fc"), (Ours(), "head.2")):
        check_contract(mine)
        assert (mine.min_size, mine.notes, mine.aux_weights, mine.classifiers) == (1, [], (), (classifier,))
        assert mine(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"min_size": 0}, "Mine.min_size=0: it is at least 1."),
        ({"notes": "small"}, "Mine.notes=small: it takes a list"),
        ({"classifiers": ("head.linear",)}, "Mine.classifiers=[head.linear]: there is no layer head.linear; .* [fc]"),
        ({"start_from_data": print}, "Mine.images_to_start_from is missing"),
        ({"forward": Network.forward}, "Mine.stem is missing: lineage/archs/network.py describes it."),
    ],
)
def test_what_a_network_states_is_checked(stated, sentence):
    with pytest.raises(ArchitectureError, match=re.escape(sentence).replace(r"\.\*", ".*")):
        check_contract(type("Mine", (Mine,), stated)())


@pytest.mark.parametrize("layer", ["3x3 32 /3 VALID", "maximum /2", "3x3 V", ""])
def test_unknown_layers(layer):
    with pytest.raises(ArchitectureError, match=f'"{layer}" is no layer'):
        branches.Chain(3, ["1x1 8", [["max"], [layer]]])


@pytest.mark.parametrize("config", ["se_resnext50_32x4d", "efficientnet_b3", "wideresnet arch.depth=16"])
def test_catalogue_is_the_command(config):
    """By name in Python and by the words of a command, the same network starts with the same weights."""
    cfg = composed(config, "cifar10")
    torch.manual_seed(0)
    by_command = instantiate(cfg.arch).state_dict()
    by_name = build(config, "cifar10", num_classes=10).state_dict()
    assert by_command.keys() == by_name.keys()
    assert all(torch.equal(by_command[key], by_name[key]) for key in by_name)


def test_names_and_sizes_of_the_catalogue():
    """Below 96 pixels a network has its stem for small images."""
    with pytest.raises(ArchitectureError, match="Did you mean resnet50"):
        catalogue.build("resnet5O")
    with pytest.raises(ArchitectureError, match="at least 32 pixels; 28"):
        catalogue.build("lenet5", resolution=28)
    networks = [catalogue.build("mobilenet_v2", resolution=side, width_mult=0.25) for side in (95, 96, None)]
    assert [network.stem.conv.stride[0] for network in networks] == [1, 2, 2]


def test_catalogue_reads_weights_and_leaves_hydra(tmp_path):
    """What released weights need is set; a caller's own Hydra stays as it was."""
    network = catalogue.build("mobilenet_v2", num_classes=5, width_mult=0.25)
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        again = lineage.build("mobilenet_v2", 5, width_mult=0.25, pretrained=str(tmp_path / "mine.pt"))
        assert GlobalHydra.instance().is_initialized()
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert "starts from the weights" in again.notes[0]


def test_python_page(tmp_path, monkeypatch, capsys):
    """The lines of docs/python.md, as a user would run them."""
    torch.save(catalogue.build("resnet_cifar", num_classes=100, depth=20).state_dict(), tmp_path / "resnet20.pt")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text()
    exec(compile(page.split("```python\n")[1].split("```")[0], "docs/python.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "head.linear is new: 10 classes" in shown
    assert "16 1 (32, 16, 32, 32)" in shown and "torch.Size([32, 64]) 64" in shown


def test_imports():
    """Importing everything under archs/ imports torch and nothing else from outside, but for the class of errors.

    The catalogue reads conf/arch, with OmegaConf."""
    program = """
import importlib, pathlib, sys
import torch
before = set(sys.modules)
for path in sorted(set(pathlib.Path("archs").glob("*.py")) - {pathlib.Path("archs/catalogue.py")}):
    importlib.import_module(f"lineage.archs.{path.stem}")
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - {"lineage", "torch"} - set(sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("config", ["resnet_cifar arch.depth=20", "resnet18", "resnet50"])
def test_plain_networks(config):
    """They have the parameters of option A, and a block without them passes nothing on."""
    plain, residual = (build(f"{config} arch.shortcut={option}") for option in ("none", "A"))
    assert count_parameters(plain) == count_parameters(residual)
    x = torch.rand(1, plain.stages[0][0].conv1.conv.in_channels, 8, 8)
    for network, passes in ((plain, False), (residual, True)):
        block = network.eval().stages[0][0]
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
        assert bool(block(x).any()) == passes
    with pytest.raises(ArchitectureError, match="has no residual branches"):
        build(f"{config} arch.shortcut=none recipe.zero_init_last=true")

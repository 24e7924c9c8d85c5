"""Every mechanism of the recipes beside a kill: the run that goes on ends as one that was left alone."""

import pytest
from doors import finished
from runs.states import assert_same_run, kill_once_saved

pytestmark = pytest.mark.proofs

COMMON = (
    "arch=resnet_cifar arch.depth=8 recipe.epochs=6 recipe.batch_size=128 recipe.decay_epochs=[2] trainer=cpu "
    "trainer.max_per_device=64 trainer.checkpoint_steps=1 trainer.log_every_n_steps=2 logger=csv datamodule.workers=0 "
    "datamodule.val_size=737"
)
CONSTANT = "recipe.schedule=constant recipe.decay_rate=0 recipe.decay_epochs=[]"
MECHANISMS = {
    "plateau": "recipe.schedule=plateau recipe.decay_epochs=[] recipe.patience=1 recipe.max_decays=3 recipe.lr=0.5",
    "swa": "recipe.swa=3 recipe.swa_lr=0.01",
    "ema": "recipe.ema=0.9 recipe.ema_every=2 recipe.ema_ramp=true recipe.precise_bn=128",
    "lookahead": "recipe.lookahead=0.9 recipe.lookahead_steps=3",
    "layer_decay": "recipe.layer_decay=0.8",
    "distillation": "recipe.distill=soft recipe.distill_share=0.5 recipe.distill_temperature=3 teacher=taught",
    "hard distillation": "recipe.distill=hard recipe.distill_share=0.5 teacher=taught recipe.label_smoothing=0.1",
    "passes": "recipe.passes=2",
    "cool-down": f"{CONSTANT} recipe.cooldown_epochs=2",
    "list": "recipe.schedule=list recipe.decay_rate=0 recipe.lrs=[0.02,0.01,0.001] recipe.decay_epochs=[2,4]",
    "progressive resolution": "recipe.progressive_res=[16,24,32]",
    "fine-tuning": "recipe.finetune=classifier",
    "mixing": "recipe.mixup_alpha=0.8 recipe.cutmix_alpha=1 recipe.mix_per=chunk recipe.mix_partner=random",
    "erasing and cutout": "recipe.erasing_prob=0.5 recipe.cutout=8 recipe.pca_lighting=0.1",
    "policies": "recipe.trivial_augment=true recipe.color_jitter=0.4",
    "LARS": "recipe.optimizer=lars recipe.lars_trust=0.001",
    "Muon": "recipe.optimizer=muon recipe.muon_iterations=3 recipe.head_lr=0.1 recipe.bias_lr=0.1",
    "RMSProp": "recipe.optimizer=rmsproptf recipe.beta2=0.9 recipe.eps=0.001 recipe.lr=0.001",
    "stochastic depth": "recipe.drop_path=0.2 recipe.dropout=0.2 recipe.repeated_aug=2",
}  # fmt: skip


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_run_goes_on_with(name, tmp_path):
    words = (*COMMON.split(), *MECHANISMS[name].split())
    if "teacher=taught" in words:
        short = ("arch=lenet5", "recipe.epochs=1", "trainer=cpu", "recipe.decay_epochs=[0.5]")
        finished(tmp_path, "train", *short, "run=taught")
    finished(tmp_path, "train", *words, "run=whole")
    for count in (9, 11):  # of 6 epochs of 8 steps the second; and again, later in the run
        kill_once_saved(tmp_path / "runs" / "killed", count, *words)
    assert "continues" in finished(tmp_path, "train", *words, "run=killed").stdout
    assert_same_run(tmp_path / "runs" / "whole", tmp_path / "runs" / "killed")

"""The overrides of a command: their keys, which of them a verb reads, and which are decided by another key."""

import fnmatch

from hydra.core.hydra_config import HydraConfig

GROUPS = ("arch", "datamodule", "recipe", "trainer", "callbacks", "logger", "experiment")


def overridden_keys() -> list[str]:
    """The keys that the command that runs gives a value."""
    return [key_of(override) for override in HydraConfig.get().overrides.task]


def key_of(override: str) -> str:
    """The key of key=value, +key=value or group@package=choice."""
    return override.split("=")[0].lstrip("+~").split("@")[0]


def removal_message(override: str) -> str:
    """About an override that begins with ~, which would hide a value that acts."""
    key = key_of(override)
    off = {"callbacks": "none", "logger": "none", "experiment": "null"}.get(key, "...")
    return f"{override}: nothing is left out of a command; {key}={off} gives it another value."


def reads(verb: str, key: str) -> bool:
    """Whether a verb reads a key, or a group."""
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in READ.get(verb, ("*",)))


# What the verbs that show images to a network read.
ASKED = (
    "arch", "arch.*", "datamodule", "datamodule.*", "recipe", "trainer", "trainer.accelerator", "trainer.precision",
    "trainer.mixed_precision", "trainer.channels_last", "trainer.max_per_device", "published.*", "recipe.test_res",
    "recipe.test_crop_ratio", "recipe.interpolation", "recipe.test_interpolation", "recipe.test_views",
    "recipe.mixed_precision", "pretrained", "plugins", "run", "runs", "checkpoint", "images", "top", "resolution",
    "crop", "views", "hydra/*", "hydra.*",
)  # fmt: skip
# What a verb reads, as patterns of keys; train reads all. Another key would be ignored, so it is refused.
READ = {
    "evaluate": (
        "arch", "arch.*", "datamodule", "datamodule.*", "recipe", "trainer", "trainer.accelerator", "trainer.devices",
        "trainer.num_nodes", "trainer.strategy", "trainer.timeout_s", "trainer.max_per_device", "trainer.precision",
        "trainer.mixed_precision", "trainer.channels_last", "trainer.keep_memory", "trainer.compile",
        "trainer.deterministic", "trainer.benchmark", "trainer.limit_test_batches", "experiment", "published.*",
        "recipe.test_res", "recipe.test_crop_ratio", "recipe.interpolation", "recipe.test_interpolation",
        "recipe.test_views", "recipe.loss", "recipe.mixed_precision",
        "pretrained", "plugins", "run", "runs", "checkpoint", "split", "resolution", "crop", "views", "soup", "hydra/*",
        "hydra.*",
    ),
    "predict": (*ASKED, "out", "columns"),
    "explain": (*ASKED, "output"),
    "export": (
        "arch", "arch.*", "datamodule", "datamodule.*", "recipe", "experiment", "published.*",
        "recipe.test_res", "recipe.test_crop_ratio", "recipe.interpolation", "recipe.test_interpolation",
        "pretrained", "plugins", "run", "runs", "checkpoint", "to", "output", "resolution", "crop",
        "hydra/*", "hydra.*",
    ),
    "report": ("run", "runs", "out", "pictures", "plugins", "hydra/*", "hydra.*"),
    "describe": (
        "arch", "arch.*", "datamodule", "datamodule.root", "datamodule.name", "datamodule.config",
        "datamodule.*_split", "datamodule.*_column", "datamodule.num_classes", "datamodule.channels",
        "datamodule.resolution", "recipe", "recipe.test_res", "recipe.dropout", "recipe.drop_path", "experiment",
        "freeze", "published.*", "resolution", "output", "hydra/*", "hydra.*",
    ),
    "preview": (
        "arch", "arch.*", "datamodule", "datamodule.*", "recipe", "recipe.*", "trainer", "trainer.accelerator",
        "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.max_per_device", "experiment", "seed",
        "teacher", "plugins", "runs", "published.*", "output", "images", "epoch", "step", "hydra/*", "hydra.*",
    ),
    "find": (
        "arch", "arch.*", "datamodule", "datamodule.*", "recipe", "recipe.*", "trainer", "trainer.accelerator",
        "trainer.precision", "trainer.mixed_precision", "trainer.channels_last", "trainer.keep_memory",
        "trainer.compile", "trainer.graph", "trainer.max_per_device", "experiment", "seed", "teacher", "pretrained",
        "freeze", "plugins", "runs", "published.*", "what", "steps", "output", "hydra/*", "hydra.*",
    ),
    "prepare": (
        "datamodule", "datamodule.[!w]*", "out", "max_size", "quality", "images_per_shard", "check", "seed", "hydra/*",
        "hydra.*",  # [!w]: neither workers nor window
    ),
}  # fmt: skip

# Keys of Hydra that have an effect; its folders and logs are replaced by this project's.
HYDRA_KEYS = (
    "hydra/launcher", "hydra/sweeper", "hydra/callbacks", "hydra.launcher.*", "hydra.sweeper.*", "hydra.callbacks.*",
    "hydra.mode", "hydra.searchpath", "hydra.job.env_set.*", "hydra.job.env_copy",
)  # fmt: skip

# What other programs call a key, after the key here; with =, whatever the value.
_OTHER_NAMES = {
    "arch": "model net network backbone architecture model_name", "datamodule": "data dataset dataset_name",
    "datamodule.root": "data_dir data_path data_root", "datamodule.workers": "num_workers n_workers",
    "datamodule.resolution": "img_size image_size input_size imgsz", "datamodule.val_size": "val_split val_ratio",
    "recipe.lr": "learning_rate base_lr max_lr", "recipe.epochs": "max_epochs num_epochs n_epochs",
    "recipe.batch_size": "batch bs train_batch_size", "recipe.optimizer": "opt optim", "recipe.weight_decay": "wd",
    "recipe.schedule": "scheduler lr_scheduler sched", "recipe.warmup_epochs": "warmup", "recipe.decay_rate": "gamma",
    "recipe.decay_epochs": "milestones", "recipe.label_smoothing": "smoothing", "recipe.mixup_alpha": "mixup",
    "recipe.cutmix_alpha": "cutmix", "recipe.grad_clip": "clip_grad gradient_clip_val", "recipe.mixed_precision": "amp",
    "trainer.precision=16-mixed": "fp16 half", "trainer.precision=bf16-mixed": "bf16", "trainer.accelerator": "device",
    "trainer.devices": "gpus num_gpus n_gpus", "pretrained": "weights ckpt ckpt_path", "seed": "random_seed",
    "run": "name exp_name run_name resume", "runs": "output_dir out_dir save_dir log_dir",
}  # fmt: skip
SYNONYMS = {name: key for key, names in _OTHER_NAMES.items() for name in names.split()}

# Arguments of Lightning's Trainer that are decided elsewhere, and where.
ELSEWHERE = {
    "callbacks": "callbacks are a group: callbacks=early_stopping, or a file in conf/callbacks",
    "logger": "loggers are a group: logger=wandb, or a file in conf/logger",
    "macs": "they are counted",
    "default_root_dir": "a run's directory is runs=FOLDER run=NAME",
    "accumulate_grad_batches": "recipe.batch_size is split by trainer.max_per_device",
    "gradient_clip_val": "the bound on the gradient is recipe.grad_clip",
    "gradient_clip_algorithm": "the bound on the gradient is recipe.grad_clip, of the global norm",
    "max_steps": "the length is recipe.epochs, or trainer.max_epochs to stop before",
    "fast_dev_run": "a few steps of everything are trainer=debug",
    "val_check_interval": "validation is at the end of epochs: trainer.check_val_every_n_epoch",
    "enable_checkpointing": "a run saves: trainer.checkpoint_minutes, trainer.checkpoint_steps",
    "plugins": "precision and cluster are chosen from the machine",
    "enable_progress_bar": "there is one on a terminal and none elsewhere",
    "num_sanity_val_steps": "there are none",
    "overfit_batches": "fewer steps an epoch are trainer.limit_train_batches",
}
# Lightning's callbacks whose work is done in another way here, and how.
NOT_A_CALLBACK = {
    **dict.fromkeys(("ModelCheckpoint", "OnExceptionCheckpoint"), ELSEWHERE["enable_checkpointing"]),
    **dict.fromkeys(
        ("StochasticWeightAveraging", "WeightAveraging", "EMAWeightAveraging"),
        "weights are averaged by recipe.ema and recipe.swa",
    ),
    **dict.fromkeys(("RichProgressBar", "TQDMProgressBar"), ELSEWHERE["enable_progress_bar"]),
    "GradientAccumulationScheduler": ELSEWHERE["accumulate_grad_batches"],
    "BatchSizeFinder": ELSEWHERE["accumulate_grad_batches"],
    "LearningRateFinder": "the rate is recipe.lr, which a sweep compares: -m recipe.lr=0.01,0.1",
    "ModelSummary": "lineage describe shows the network",
    "RichModelSummary": "lineage describe shows the network",
    "ModelPruning": "it replaces parameters, which checkpoints and averages of weights do not follow",
    "Timer": "a run saves and stops at trainer.max_time",
}

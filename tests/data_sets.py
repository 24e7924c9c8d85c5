"""Data modules by the words of a command, without composing the rest of its config."""

from importlib import import_module
from typing import Any

from doors import ROOT
from hydra.utils import get_class
from omegaconf import OmegaConf

from lineage.config.completion import INFERENCES


def loaded(kind: str, *words: str) -> Any:
    """conf/datamodule/KIND.yaml with the values of words such as val_size=0, built and loaded."""
    folder = ROOT / "conf" / "datamodule"
    config = OmegaConf.merge(OmegaConf.load(folder / f"{kind}.yaml"), OmegaConf.from_dotlist(list(words)))
    node: Any = OmegaConf.to_container(config, resolve=True)
    if node["_target_"] in INFERENCES:
        module, _, function = INFERENCES[node["_target_"]].rpartition(".")
        inferred = getattr(import_module(module), function)(node)
        node = {key: inferred.get(key) if value is None else value for key, value in node.items()}
    datamodule = get_class(node.pop("_target_"))(**node)
    datamodule.load()
    return datamodule


def sizes(datamodule: Any) -> list[int]:
    return [len(images) for images in (datamodule.train, datamodule.val, datamodule.test)]

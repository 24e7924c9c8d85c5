"""The numbers and names of ImageNet's classes."""

from functools import cache

from lineage.datamodules.discovery.scanning import printable


@cache
def known_classes() -> dict[str, str]:
    """ImageNet's 1,000 classes in order: wnids and descriptions."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return {name: info.label_name_to_description(name) for name in info.label_names()}


def described(classes: list[str]) -> list[str]:
    return [known_classes().get(name, printable(name)) for name in classes]

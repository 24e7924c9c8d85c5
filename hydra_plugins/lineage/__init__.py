"""Lineage's plugins, which Hydra finds in packages under `hydra_plugins`; that name is its rule."""

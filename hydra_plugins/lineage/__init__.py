"""Lineage's plugins, which Hydra looks for in packages named `hydra_plugins`."""

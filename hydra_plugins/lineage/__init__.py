"""Lineage's launcher for Hydra's sweeps."""

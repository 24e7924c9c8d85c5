"""Costs, tables and drawings of networks, from a trace of one forward pass."""

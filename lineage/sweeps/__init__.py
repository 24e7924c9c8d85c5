"""Sweeps: the jobs of a grid, who runs them, and the table that ranks them. Imports no torch."""

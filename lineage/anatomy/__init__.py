"""Look at a network: trace one forward pass, tabulate its stages, draw it to scale."""

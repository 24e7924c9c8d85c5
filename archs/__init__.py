"""The networks, a family a file. They import torch and archs.blocks, nothing else."""

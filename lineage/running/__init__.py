"""A run: its directory, Lightning's Trainer, checkpoints and resume, stopping, several processes.

directory.py and parent.py import no torch: a wrong command is refused before that.
"""

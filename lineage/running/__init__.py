"""What surrounds a run: the first screen, the run directory, checkpoints and resume, results, errors, sweeps.

check, errors, schema and run_directory import no torch: a wrong command is refused before that.
"""

"""What a run reports: screen, progress bar, metric rows, loggers, results, notes."""

"""What is told while a run goes on: screen, progress bar, metric rows, loggers, results, notes."""

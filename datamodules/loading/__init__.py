"""From a split in memory or in files to batches: order, loader, worker pool."""

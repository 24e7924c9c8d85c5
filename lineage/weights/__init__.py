"""Released weights in and out, freezing; the only reader of a run's checkpoint as weights."""

"""Is the command right, and what does it leave to be inferred? Schema, constraints, checks, completion, messages.
Imports no torch."""

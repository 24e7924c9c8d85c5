"""Checks a command and completes its config: schema, signatures, checks, completion, messages.

No module imports torch when it is imported; some functions do when they are called.
"""

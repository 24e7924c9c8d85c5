"""The one base of what a user is told in a line instead of a traceback. Every room may import it."""


class UserError(Exception):
    """A mistake in a command or its surroundings; the message is one or two lines: what is wrong, the nearest right."""

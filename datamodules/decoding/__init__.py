"""From the bytes of an encoded image to pixels of the right size."""

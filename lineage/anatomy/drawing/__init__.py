"""A network drawn to scale, as SVG and PNG."""

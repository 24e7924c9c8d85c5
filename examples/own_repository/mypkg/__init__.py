"""A network and a data set for Lineage."""

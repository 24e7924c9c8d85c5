"""Tars of images: written and checked by lineage prepare, read from folders and URLs, WebDataset's included."""

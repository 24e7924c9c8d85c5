"""Pages of runs, made from the files in their folders: HTML of one file, and a model card."""

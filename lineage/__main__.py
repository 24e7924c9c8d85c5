"""`lineage VERB arch=... recipe=... datamodule=...`, or `python -m lineage VERB`."""

from lineage.doors import command

if __name__ == "__main__":
    command()

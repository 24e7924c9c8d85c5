"""`lineage VERB arch=... recipe=... datamodule=...`, or `python -m lineage VERB`."""

from lineage.doors import main

if __name__ == "__main__":
    main()

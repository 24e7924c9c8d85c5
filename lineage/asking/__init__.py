"""Networks that are used without a run: asked about images, shown on a page, tried at rates and batch sizes."""

"""The data: from files on disk to uint8 images to batches on the device. They know no recipe."""

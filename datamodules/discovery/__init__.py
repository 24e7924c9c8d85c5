"""What a folder or a table of images contains: paths, labels, classes, sizes, mean and deviation. No torch."""

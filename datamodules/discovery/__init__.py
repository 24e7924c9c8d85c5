"""What is in a folder or a table of images: paths, labels, classes, sizes, mean and deviation. No torch."""

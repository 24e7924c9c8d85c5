"""Augmentation: random views of an image, a function of (seed, epoch, sample, repetition)."""

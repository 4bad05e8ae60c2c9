"""Formats of labels, one module each: what a tool writes becomes images with decisions and masks."""

"""Image files: decoding, reading, resizing, statistics, and ZIP files of images."""

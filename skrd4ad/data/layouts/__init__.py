"""Folder layouts of data sets, and how each is read."""

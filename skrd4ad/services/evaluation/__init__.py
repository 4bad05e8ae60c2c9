"""Figures of a model on labelled images, kept, charted and compared."""

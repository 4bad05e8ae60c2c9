"""Folders whose new images are scored as they arrive."""

"""Thresholds from scores of good images, and their history."""

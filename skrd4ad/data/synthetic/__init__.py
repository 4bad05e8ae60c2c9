"""Drawn parts with exact defect masks."""

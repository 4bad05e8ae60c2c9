"""Pure functions from labels, scores and maps to numbers."""

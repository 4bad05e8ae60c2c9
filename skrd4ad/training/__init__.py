"""Training a student, and fitting the memory bank."""

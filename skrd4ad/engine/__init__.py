"""Training, evaluation and prediction with models on disk."""

"""From labels to a better model: agreement, recalibration, retraining, adoption."""

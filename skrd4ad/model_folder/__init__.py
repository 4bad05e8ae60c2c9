"""A trained model on disk: weights, settings, calibrations, card, bundle."""

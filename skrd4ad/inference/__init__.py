"""From pixels to anomaly maps and image scores."""

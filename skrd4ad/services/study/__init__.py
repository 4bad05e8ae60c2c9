"""Is the measurement fit: the same parts photographed again and again, and what the model says of them."""

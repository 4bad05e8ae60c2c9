"""Many images, and many classes, on one machine or on the machines of a Ray cluster."""

"""The review queue: images, scores, decisions of people."""

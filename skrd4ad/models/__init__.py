"""Teachers, the student (bottleneck and decoder), and the published checkpoint layout."""

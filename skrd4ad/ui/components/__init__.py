"""Components that run in the browser: Python, one script and one style sheet each."""

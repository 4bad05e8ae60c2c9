"""Commands on the app: start it, show the history of its workspace, give roles in it."""

"""What the pages and the command line call: one function a user action."""

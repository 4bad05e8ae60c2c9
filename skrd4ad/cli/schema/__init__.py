"""What the JSON documents of the commands hold, and the command that publishes it."""

"""Commands that run beside a production line."""

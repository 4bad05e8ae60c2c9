"""The app together with the service."""

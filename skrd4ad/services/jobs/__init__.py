"""Background jobs: queue, handle, process."""

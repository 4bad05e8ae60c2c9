"""The database: runs, jobs and models."""

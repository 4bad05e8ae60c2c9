"""Migrations of the database, oldest first in ``versions``; a published one is never changed."""

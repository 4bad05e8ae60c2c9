"""Inspection reports: HTML and PDF."""

"""A door to the app: a server that has shown no page yet opens this file for a link to this page."""

from skrd4ad.ui.app import show_app

show_app()

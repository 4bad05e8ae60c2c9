"""The Improve section of the Label page."""

"""The Study page: is the measurement fit."""

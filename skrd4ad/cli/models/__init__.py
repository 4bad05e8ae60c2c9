"""Commands on models: list, pack, import, export, find the fastest runtime."""

"""The models of the workspace: list, rename, delete, import, export."""

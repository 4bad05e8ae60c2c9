"""The Python interface: what ``import skrd4ad`` offers, imported when it is first used."""

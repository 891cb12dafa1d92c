"""Sealing what is stored, and finding it again without opening it."""

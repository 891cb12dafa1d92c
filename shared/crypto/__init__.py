"""Seal what is stored, and find it again without opening it."""

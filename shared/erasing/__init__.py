"""Erase a user: the steps that every product's part has in common, and the receipt."""

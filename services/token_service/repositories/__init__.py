"""All SQL of the schema `token`."""

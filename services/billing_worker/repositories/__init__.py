"""All SQL of billing-worker, one module per aggregate."""

"""What surrounds every handler: one policy, one file. The chain is put together in service.py."""

"""What the Python SDK, synchronous and asynchronous, gets from a sandbox."""

"""What a node decides: whom to admit, what a create, update or delete means, whom to adopt. No I/O of its own, no wire messages."""

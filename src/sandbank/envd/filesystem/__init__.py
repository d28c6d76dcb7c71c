"""What the filesystem service does: entries, listings, moves, removals, watches; and its RPC service."""

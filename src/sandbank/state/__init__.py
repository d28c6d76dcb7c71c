"""Running sandboxes, routing catalog, reservations: in memory or in Redis."""

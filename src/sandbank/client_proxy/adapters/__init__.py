"""Where this service's knowledge of nodes comes from."""

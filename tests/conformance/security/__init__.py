"""What code inside a sandbox can do, and what it cannot: seen from inside, with root's own tools, and from its neighbours."""

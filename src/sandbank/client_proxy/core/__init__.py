"""What this proxy knows of the cluster and of itself. Sees no framework."""

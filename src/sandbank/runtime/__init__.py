"""Running sandboxes on this node: drivers, root filesystems, cgroups, network. Knows nothing of teams, templates' names or HTTP."""

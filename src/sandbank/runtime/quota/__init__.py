"""How much of the node's disk each sandbox may fill: a file system with project quotas, and one project per sandbox."""

"""Agent bundles: everything that a zygote runs from, in one immutable directory that needs nothing else of the node."""

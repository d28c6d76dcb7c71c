"""The namespaces driver on the real kernel: what a sandbox may do, what ends it, and what outlives the driver. Needs root."""

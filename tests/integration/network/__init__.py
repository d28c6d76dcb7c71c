"""The node's sandbox network on the real kernel. Needs root."""

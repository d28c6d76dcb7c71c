"""The port of the proxy, and that of the image store."""

"""The rules of the sandbox network, without a kernel."""

"""The REST control plane: accounts, quotas, sandbox lifecycle, placement. Traffic to sandboxes never passes through here."""

"""Talking to the agent of a sandbox on this node: commands, and files to put there (contract data-plane §2, §4)."""

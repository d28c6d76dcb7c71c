"""The `sandbank` command."""

"""The `sandbank` command as an operator uses it."""

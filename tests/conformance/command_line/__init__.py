"""What operators see: the `sandbank` command against the running installation."""

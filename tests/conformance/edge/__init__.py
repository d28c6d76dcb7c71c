"""The edge API of an installation, used as an operator does."""

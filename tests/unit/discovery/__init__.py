"""Finding nodes."""

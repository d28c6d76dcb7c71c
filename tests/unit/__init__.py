"""Our code alone, milliseconds each."""

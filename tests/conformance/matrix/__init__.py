"""Many releases of the official clients against one installation."""

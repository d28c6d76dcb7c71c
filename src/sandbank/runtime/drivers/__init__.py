"""Ways to run a sandbox. Drivers do not know each other."""

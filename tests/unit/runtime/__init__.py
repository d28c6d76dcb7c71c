"""Rules of the runtime that need no kernel."""

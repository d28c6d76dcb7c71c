"""What a push may be: tokens, scopes, paths, and what an image consists of. No I/O."""

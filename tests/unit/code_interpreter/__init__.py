"""The recipe of `code-interpreter-v1`, and the archives it copies."""

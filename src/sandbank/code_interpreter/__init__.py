"""The template `code-interpreter-v1`: its recipe, and the server that runs inside. Nothing here runs on a node."""

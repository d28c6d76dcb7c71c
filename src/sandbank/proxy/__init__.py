"""The piping engine and its routing rules, used by the client proxy and the orchestrator.

Here: HTTP/1.1 heads and body framing as pure functions, the rules that lead from a request to a sandbox, error pages, connections to
origins, and the server that joins a client to an origin. Not here: where sandboxes run (the catalog) and how a socket gets into one.
"""

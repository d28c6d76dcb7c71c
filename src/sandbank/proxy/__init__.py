"""The piping engine and its routing rules, used by the client proxy, the orchestrator and the Docker reverse proxy.

Here: HTTP/1.1 heads and body framing as pure functions, the rules that lead from a request to a sandbox, error pages, connections to
origins, the server that joins a client to an origin, and the certificates that it shows. Not here: where sandboxes run (the catalog) and
how a socket gets into one.
"""

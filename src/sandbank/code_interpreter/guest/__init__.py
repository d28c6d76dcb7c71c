"""The code interpreter's server (contract templates-and-data §10), which runs inside a sandbox on port 49999.

It is copied into the template as the package `sandbank_interpreter` and imports nothing of Sandbank. `ipython/` and `node/` hold what runs
inside the kernels; the rest is the server, which has an environment of its own, so that what users install cannot break it.
"""

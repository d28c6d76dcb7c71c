"""A whole installation under test: starting and stopping it as a user does, and taking stock of what it leaves on the node.

Used by the conformance and soak tests and by the benchmarks. Nothing here imports `sandbank`: the product is met through its command
line, its ports and the kernel's own books.
"""

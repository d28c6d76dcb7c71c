"""What runs inside Python kernels: display formatters, and nothing that a cell could see by accident.

It is imported by the interpreter of users' cells, so it needs no more than IPython and ipykernel, and nothing of the server.
"""

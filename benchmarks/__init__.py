"""How fast it is, next to others on the same machine in the same run: `python -m benchmarks`. Ratios travel, seconds do not.

Every module measures one thing on a running installation and returns rows; `report` prints them. Nothing here is a test: no number fails.
"""

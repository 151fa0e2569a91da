"""The tables: one file per source (its landing and its staging asset), and `marts.py`. A table is found by being here.

The engine is in the packages: `graph` (what exists), `record` (what was made), `making` (how a table is made). They know no table.
"""

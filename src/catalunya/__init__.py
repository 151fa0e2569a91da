"""The Catalunya Open Data Pipeline.

The packages below are links to the folders at the top of the repository: `catalunya.io` is `io/`.
Nothing is imported here, so that importing one part never pays for another.
"""

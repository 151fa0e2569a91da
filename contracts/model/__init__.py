"""The base classes of contracts, how they are checked, and what is derived from them. Imports no table."""

"""The vocabulary of contracts, their checks, and what is derived from them. Knows no table."""

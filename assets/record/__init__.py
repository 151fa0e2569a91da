"""What was made: the ledger, leases, where objects lie, what is stale, what is kept how long, and proof that it all agrees."""

"""What each table promises: one module per source, one for the marts, and what is derived from them."""

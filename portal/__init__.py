"""The public pages, generated from graph, ledger and marts."""

"""Descriptions of the site and its data for machines, all generated from the contracts, the graph, the ledger and the published files.

`datasets.py` gathers what is known of each dataset, whatever the form. Each other module is one form: `dcat.py` (catalogues), `schema_org.py` (search
engines), `datapackage.py` (Frictionless), `odcs.py` (data contracts), `feed.py` (Atom), `sitemap.py`. Not here: pages, the files themselves.
"""

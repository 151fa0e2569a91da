"""The public pages: a static site, generated from the graph, the ledger and the published tables.

Here: what a reader sees, in each language of the project. Not here: the words for what is wrong (`ops/watching/consumers.toml`), serving the pages
of Airflow (`dags/plugin`). Every page is a file, every link is relative, and no page asks another host for anything.
"""

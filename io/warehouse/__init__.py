"""The warehouse: marts built by dbt, queries, and the catalog, on DuckDB (local) and Athena (dev, prod)."""

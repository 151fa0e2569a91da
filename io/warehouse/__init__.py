"""The warehouse: marts built by dbt, queries, and the catalog; DuckDB in local, Athena in dev and prod."""

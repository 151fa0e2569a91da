"""An Athena that runs: moto's API, and behind it an executor on DuckDB that refuses what Athena refuses."""

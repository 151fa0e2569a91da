"""How the pipeline is run and watched: the `catalunya` command, logs, Airflow on this machine, and what looks after it."""

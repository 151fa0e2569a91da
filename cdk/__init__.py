"""The AWS infrastructure, derived from the graph: stacks, roles, alarms, dashboards. `docs/infrastructure.md` says how it is deployed."""

"""Tables that were, and are no more: naming one here says that its removal is meant.

A table's version lives in its contract, and a table that goes takes its contract with it; this is what remains to declare
the breaking change (`catalunya contracts diff`). Not here: tables that are.
"""

from __future__ import annotations

from collections.abc import Mapping

# Asset key -> what its readers do instead: {"marts.fact_visits": "count the rows of marts.fact_service_usage_daily"}
RETIRED: Mapping[str, str] = {}

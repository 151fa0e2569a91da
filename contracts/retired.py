"""Tables that were removed on purpose.

A breaking change is declared by raising the contract's version, but a removed table has no contract any more, so its removal is
declared here (see `catalunya contracts diff`). Not here: tables that still exist.
"""

from __future__ import annotations

from collections.abc import Mapping

# Asset key -> what readers should use instead: {"marts.fact_visits": "count the rows of marts.fact_service_usage_daily"}
RETIRED: Mapping[str, str] = {}

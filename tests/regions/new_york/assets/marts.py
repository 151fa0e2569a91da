"""The marts: each is one dbt model (`dbt/models/marts/…/<name>.sql`) and one contract of the same name."""

from __future__ import annotations

from catalunya.assets.graph.spec import Marts
from new_york.contracts import marts as contracts

marts = Marts(contracts)

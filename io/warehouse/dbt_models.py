"""What a model of the dbt project is, read from the manifest of its parse.

Here: its tests, its seeds, what it reads and what version its SQL has. Not here: parsing the project and running it (`dbt.py`), the graph's marts
(`assets/graph/dbt_marts.py`). Imports nothing of dbt: a manifest is what `dbt.py` hands over.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the project.

    `reads` are the (schema, table) that it and its tests need, `tests` the names of those tests: the queries in `dbt/tests`, because
    what its contract says is checked when it is built, and not by dbt a second time. `seeds` are the reference data that it reads, which
    is built with it. `columns` are in the order of the contract. `partitioned_by` is set on Athena only.
    `sql_version` is a hash of its SQL, of the project's macros that it calls, directly or not, and of its seeds.
    """

    name: str
    path: str
    reads: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    seeds: tuple[str, ...]
    columns: tuple[str, ...]
    is_incremental: bool
    partitioned_by: tuple[str, ...]
    sql_version: str
    meta: Mapping[str, Any]


def read_model(manifest: Any, node: Any) -> Model:
    """What a model of dbt's manifest is."""
    own = set(node.depends_on.nodes)
    tests = [test for test in manifest.nodes.values() if test.resource_type == "test" and _is_test_of(test, node, own)]
    seeds = [manifest.nodes[each] for each in sorted(own) if each.startswith("seed.")]
    reads = own.union(*(test.depends_on.nodes for test in tests)) - {
        node.unique_id,
        *(seed.unique_id for seed in seeds),
    }
    return Model(
        name=node.name,
        path=f"dbt/{node.original_file_path}",
        reads=tuple(sorted(_table(manifest, unique_id) for unique_id in reads)),
        tests=tuple(sorted(test.name for test in tests)),
        seeds=tuple(seed.name for seed in seeds),
        columns=tuple(node.columns),
        is_incremental=node.config.materialized == "incremental",
        partitioned_by=tuple(map(str, node.config.get("partitioned_by") or ())),
        sql_version=_sql_version(manifest, node, seeds),
        meta=dict(node.config.meta),
    )


def _is_test_of(test: Any, node: Any, reads: set[str]) -> bool:
    """A query in `dbt/tests` belongs to the model that reads everything else it reads. One that is declared on a column or a model follows
    from the contract (`_models.yml` is generated), which the built table is checked against: it is there for `dbt build` by hand."""
    needs = set(test.depends_on.nodes)
    is_declared = getattr(test, "attached_node", None) is not None
    return not is_declared and node.unique_id in needs and needs - {node.unique_id} <= reads


def _table(manifest: Any, unique_id: str) -> tuple[str, str]:
    if unique_id in manifest.sources:
        source = manifest.sources[unique_id]
        return source.source_name, source.name
    return "marts", manifest.nodes[unique_id].name


def _sql_version(manifest: Any, node: Any, seeds: Sequence[Any]) -> str:
    own = {unique_id: macro for unique_id, macro in manifest.macros.items() if macro.package_name == node.package_name}
    # dbt finds a model's macros by rendering it, and misses those in the branch of an incremental run.
    called = [unique_id for unique_id, macro in own.items() if re.search(rf"\b{macro.name}\(", node.raw_code)]
    # All implementations of a dispatched macro count: the version is the same whichever engine the project is parsed for.
    waiting, macros = [*node.depends_on.macros, *called], dict[str, str]()
    while waiting:
        unique_id = waiting.pop()
        if unique_id in own and unique_id not in macros:
            macros[unique_id] = own[unique_id].macro_sql
            name = own[unique_id].name.rpartition("__")[2]
            alike = [other for other, macro in own.items() if macro.name.rpartition("__")[2] == name]
            waiting += [*own[unique_id].depends_on.macros, *alike]
    read = [f"{seed.name} {seed.checksum.checksum} {json.dumps(dict(seed.config.column_types))}" for seed in seeds]
    text = "\0".join([node.raw_code, node.config.materialized, *(macros[each] for each in sorted(macros)), *read])
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""A run that goes well, as a person starts it twice: the second finds everything up to date and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.test_airflow_run import LEFT, folder, started, written

__all__ = ["folder"]


def ran(folder: Path) -> dict[str, str]:
    """What became of each asset in a run, by the document it prints."""
    with started(folder, "run(load_settings(), rows=300, as_json=True)") as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    document: dict[str, Any] = json.loads(said[said.index("{\n") :])
    assert document["status"] == "ok"
    return {asset["asset"]: asset["state"] for asset in document["assets"]}


def test_a_run_makes_what_is_left_and_one_after_it_finds_everything_up_to_date(folder: Path) -> None:
    first = ran(folder)
    assert {key for key, state in first.items() if state == "done"} == set(LEFT)
    before = written(folder)
    assert set(ran(folder).values()) == {"up to date"}
    assert written(folder) == before

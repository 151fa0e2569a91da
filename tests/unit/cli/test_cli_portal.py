"""`catalunya portal build` lists what only the operator can know and has not set."""

from __future__ import annotations

import json
from pathlib import Path

from small.commands import Run


def test_a_build_lists_the_settings_that_only_the_operator_can_know(run: Run, tmp_path: Path) -> None:
    done = run("portal", "build", str(tmp_path / "site"), "--json")
    assert done.code == 0, done.err
    missing = json.loads(done.out)["not_set"]
    assert "the catalogue has no publisher" in missing["CATALUNYA_PUBLISHER"]
    assert "DCAT-AP-ES" in missing["CATALUNYA_PUBLISHER_DIR3"]
    said = run("portal", "build", str(tmp_path / "site"))
    assert "CATALUNYA_PUBLISHER_DIR3 is not set: the catalogue is not valid as DCAT-AP-ES" in said.err

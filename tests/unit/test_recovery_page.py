"""docs/recovery.md is correct: the command line accepts its commands, and its objectives are the settings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from catalunya.io.environment import load_settings
from catalunya.ops.backup.store import KEEP_ALL
from catalunya.ops.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "recovery.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
SHOWN = [
    found for block in BLOCKS for found in re.findall(r"^(?:dokku run \S+ )?(catalunya .*)$", block, flags=re.MULTILINE)
]
NAMED = re.findall(r"`(catalunya [^`]+)`", PAGE)


@pytest.mark.parametrize("line", sorted({*SHOWN, *NAMED}))
def test_the_command_line_accepts_each_of_its_commands(line: str) -> None:
    _, *tokens = shlex.split(line, comments=True)
    app.parse_args(tokens, print_error=False, exit_on_error=False)


def test_its_commands_are_found() -> None:
    assert len(SHOWN) >= 25
    assert {line.split()[1] for line in SHOWN} >= {"backup", "restore", "verify", "catalog"}


def test_its_objectives_and_places_are_the_settings() -> None:
    rows = {
        row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]] for row in PAGE.splitlines()[2:8]
    }
    rto = next(cells for name, cells in rows.items() if "RTO" in name)
    rpo = next(cells for name, cells in rows.items() if "RPO" in name)
    settings = [load_settings(env=env) for env in ("local", "dev", "prod")]
    assert rto == ["30 min" if s.rto_minutes == 30 else f"{s.rto_minutes // 60} h" for s in settings]
    assert rpo[1:] == [f"{s.rpo_hours} h" for s in settings[1:]]
    places = next(cells for name, cells in rows.items() if "CATALUNYA_BACKUP" in name)
    assert places == [f"`{s.backup}`" for s in settings]
    kept = f"all of {KEEP_ALL.total_seconds() / 3600:.0f} hours, the last of each of {settings[0].backup_days} days"
    assert f"{kept}, the last of each of {settings[0].backup_weeks} weeks" in PAGE

"""The repository contains no credentials and runs no text as code or shell command; the search itself is tested."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
SHAPES = {
    "AWS access key": r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "AWS secret key": r"(?i)secret_?access_?key[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])",
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*\n[A-Za-z0-9+/=]{16}",
    "GitHub token": r"(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})",
    "Slack token": r"xox[abprs]-[A-Za-z0-9-]{20,}",
    "Slack webhook": r"hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/\w{12,}",
    "JSON web token": r"eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "portal app token": r"(?i)app_?token[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9]{25}(?![A-Za-z0-9])",
    "Fernet key": r"(?i)fernet_?key[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9_-]{43}=",
    "PyPI token": r"pypi-AgE[A-Za-z0-9_-]{50,}",
}
EXAMPLES = {
    "AWS access key": "AKIA" + "Z7QX4TNWPLD2RKV3",
    "AWS secret key": "AWS_SECRET_ACCESS_KEY=" + "wJa1rXUtnF/EMI+K7" * 2 + "abcdef",
    "private key": "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEowIBAAKCAQEAx\n",
    "GitHub token": "ghp" + "_" + "a1B2" * 9,
    "Slack token": "xoxb" + "-" + "1234567890-abcdefghijkl",
    "Slack webhook": "https://hooks.slack.com/" + "services/T0ABCDEF1/B0ABCDEF1/" + "x" * 24,
    "JSON web token": ".".join(["ey" + "J" + "hbGciOiJIUzI1NiI9", "ey" + "J" + "zdWIiOiIxMjM0NTY3", "a" * 43]),
    "portal app token": "app_token: " + "kV7wQ2nZ5" * 2 + "abcdefg",
    "Fernet key": "FERNET_KEY='" + "aB3" * 14 + "x=" + "'",
    "PyPI token": "pypi" + "-AgE" + "x" * 60,
}
BROAD = re.compile("|".join(f"(?:{shape.replace('(?i)', '')})" for shape in SHAPES.values()), re.IGNORECASE)
FORBIDDEN = "S102,S301,S302,S307,S506,S602,S604,S605,S609"  # exec, pickle, marshal, eval, yaml.load, shells


def found(folder: Path) -> list[str]:
    """The places in tracked and untracked files that look like a credential: `file:line: what`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    places = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace")
        if not BROAD.search(text):
            continue
        for what, shape in SHAPES.items():
            places += [f"{name}:{text.count(chr(10), 0, at.start()) + 1}: {what}" for at in re.finditer(shape, text)]
    return sorted(places)


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or not shutil.which("git"),
    reason="not a clone: git cannot list the project's files",
)
def test_no_file_in_the_repository_contains_a_credential() -> None:
    assert found(ROOT) == []


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_search_finds_every_kind_of_credential(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for number, (what, example) in enumerate(EXAMPLES.items()):
        (tmp_path / f"{number}.py").write_text(f"first = 1\nvalue = '''{example}'''\n# {what}\n")
    assert found(tmp_path) == [f"{number}.py:2: {what}" for number, what in enumerate(SHAPES)]


def test_the_dbt_profile_neither_reads_nor_contains_a_credential() -> None:
    profile = yaml.safe_load((ROOT / "dbt" / "profiles.yml").read_text())

    def names(value: Any) -> set[str]:
        if not isinstance(value, dict):
            return set(re.findall(r"(?:env_var|var)\('(\w+)'", str(value)))
        return set(value).union(*map(names, value.values()))

    secret = re.compile(r"(?i)password|secret|token|access_key|credential|aws_profile")
    assert not [name for name in names(profile) if secret.search(name)]


def test_no_text_is_run_as_code_or_by_a_shell_even_where_a_comment_allows_it() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--ignore-noqa", "--no-cache", "--select", FORBIDDEN,
         "assets", "bench", "cdk", "contracts", "dags", "io", "ops"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout

"""`make generate`: write the files that follow from the contracts (dbt's YAML, the data dictionary).

Here: which contracts there are, and the writing. Not here: what the files say (`contracts/derive.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catalunya.contracts.base import Contract


def rendered() -> dict[str, str]:
    """Every derived file, by its path below the repository, as it should be."""
    from catalunya.contracts.derive import render

    return render(all_contracts())


def all_contracts() -> dict[str, type[Contract]]:
    """Every contract by the key of its asset. dbt is not asked: its YAML is what is being made."""
    from catalunya.assets.catalog import declarations
    from catalunya.assets.marts import contracts

    declared = {key: declaration.contract for key, declaration in declarations().items()}
    return declared | {f"marts.{name}": contract for name, contract in contracts().items()}


def write(root: Path) -> list[Path]:
    """Write what is stale below `root`. Returns the files that changed."""
    changed = []
    for name, text in rendered().items():
        path = root / name
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            changed.append(path)
    return changed


def main() -> None:
    """Write below the current folder, and say what changed."""
    from rich.console import Console

    changed = write(Path.cwd())
    Console().print("\n".join(f"written: {path}" for path in changed) or "everything generated is up to date")


if __name__ == "__main__":
    main()

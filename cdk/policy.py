"""Access as data: what a grant is, what conditions it may have, and the IAM policy documents that follow from grants.

Plain dicts, no CDK: tests evaluate them, `roles.py` puts them into templates. Here: the vocabulary and its translation. Not here:
who may do what (`access.py`), who may become whom (`trust.py`), limits over all of it (`limits.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from catalunya.cdk.naming import Names

Statement = dict[str, Any]
Document = dict[str, Any]
Place = Callable[[Names], tuple[str, ...]]
"""ARNs of one kind of thing in one environment."""

VERSION = "2012-10-17"


@dataclass(frozen=True)
class Verb:
    """What is done, as IAM's actions."""

    name: str
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Condition:
    """When a grant holds: in words, and as IAM's operator -> key -> value."""

    words: str
    terms: Callable[[Names], Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Grant:
    """One row of the table: a role may do something in some places, on a condition, for a reason."""

    role: str
    verb: Verb
    places: tuple[str, ...]
    why: str
    condition: Condition | None = None


def statement(grant: Grant, places: Mapping[str, Place], names: Names) -> Statement:
    """A grant as a statement, named by what it is. Raises KeyError for a place that is not declared."""
    found: Statement = {
        "Sid": _sid(grant),
        "Effect": "Allow",
        "Action": list(grant.verb.actions),
        "Resource": list(dict.fromkeys(arn for place in grant.places for arn in places[place](names))),
    }
    if grant.condition:
        found["Condition"] = {operator: dict(terms) for operator, terms in grant.condition.terms(names).items()}
    return found


def document(statements: Iterable[Statement]) -> Document:
    """Statements as one policy."""
    return {"Version": VERSION, "Statement": list(statements)}


def deny(sid: str, actions: Iterable[str], resources: Iterable[str], condition: Mapping[str, Any]) -> Statement:
    """A statement that no grant can outweigh."""
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Action": list(actions),
        "Resource": list(resources),
        "Condition": dict(condition),
    }


def _sid(grant: Grant) -> str:
    """Letters and digits, as IAM wants them: `ReadLandingStaging`."""
    words = re.findall(r"[A-Za-z0-9]+", f"{grant.verb.name} {' '.join(grant.places)}")
    return "".join(word.capitalize() for word in words)

"""CloudFormation templates for tests: resources by type, with references resolved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ACCOUNT, REGION, REPLICA_REGION = "123456789012", "eu-west-1", "eu-central-1"
CONTEXT = {
    "account": ACCOUNT,
    "region": REGION,
    "replica_region": REPLICA_REGION,
    "github_subject": "repo:example/catalunya",
    "alarm_email": "data@example.org",
    "socrata_token_secret": "socrata",
    "hosts_secret": "hosts",
    "trust_anchor": f"arn:aws:rolesanywhere:{REGION}:{ACCOUNT}:trust-anchor/0a1b",
    "readers": f"arn:aws:iam::{ACCOUNT}:role/dashboard",
    "monitors": f"arn:aws:iam::{ACCOUNT}:role/alerting",
    "identity_center": "DataEngineer",
    "portal_domain": "dades.example.org",
    "portal_certificate": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/0a1b",
}
_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}


@dataclass(frozen=True)
class Template:
    """One stack's template."""

    stack: str
    content: dict[str, Any]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of a type, by logical id, resolved."""
        return {
            logical: self.resolved(resource.get("Properties", {}))
            for logical, resource in self.content["Resources"].items()
            if resource["Type"] == kind
        }

    def named(self, kind: str, name: str) -> dict[str, Any]:
        """The properties of the one resource of a type with this name, in whichever property has it."""
        (found,) = [
            properties
            for properties in self.of(kind).values()
            if name in [value for key, value in properties.items() if key.endswith("Name") or key == "Name"]
        ]
        return found

    def resolved(self, value: Any) -> Any:
        """The value with references, joins and substitutions resolved; a reference to a resource becomes `<LogicalId>`."""
        if isinstance(value, list):
            return [self.resolved(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": str(name)}:
                found: Any = _PSEUDO.get(name, f"<{name}>")
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                found = f"<{name}.{attribute}>"
            case {"Fn::Join": [str(separator), list(parts)]}:
                found = separator.join(str(self.resolved(part)) for part in parts)
            case {"Fn::Sub": str(text)}:
                found = re.sub(r"\$\{([\w:.]+)\}", lambda match: _PSEUDO.get(match[1], f"<{match[1]}>"), text)
            case _:
                found = {key: self.resolved(inner) for key, inner in value.items()}
        return found


def statements(policy: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The statements of a policy document."""
    found = policy["Statement"]
    yield from found if isinstance(found, list) else [found]

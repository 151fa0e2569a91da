"""docs/access.md, which follows from the table of access: `make generate` writes it.

Not here: the table (`access.py`), who may become whom (`trust.py`), what nobody may (`limits.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from catalunya.cdk.access import ROLES, grants
from catalunya.cdk.naming import Names
from catalunya.cdk.trust import IN_WORDS
from catalunya.io.environment import load_settings

PAGE = "docs/access.md"
_ENV = "dev"

_HEAD = """\
# Who may do what in AWS

<!-- written by `make generate` from cdk/access.py and cdk/trust.py -->

Every policy is generated from one table, `cdk/access.py`: this page is that table. What it grants is what the code does: the tests run
functions, a mart, retention, backups, repair and queries under these policies, enforced, and fail when something is missing or when a
row is left over. A reason that begins with *on its own word* is of what no test can run: what AWS does itself, as who asks.

- An object is only told to be absent to who may list its bucket; to others S3 says that it is forbidden. So roles of the pipeline list the
  whole lake (names, no content), and read their own folders.
- The ledger is added to: extractor, transformer and mart role write an entry only where there is none. Who merges or repairs it is named.
- Landing holds personal data. The extractor, the transformer and a data engineer read it, and nobody else.
- A data engineer looks at everything, and changes nothing but in a session whose name begins with `mend-` ([below](#a-data-engineer)).
- Former versions of objects are deleted by S3's lifecycle alone.

## Limits over all of it

`cdk/limits.py`. The boundary, which every role has: our buckets, tables, work groups, functions, queues and log groups by their names; our
regions; TLS; no identities, no settings of buckets, no deletion of versions. The buckets' policies: TLS 1.2 or newer, no encryption but
the lake's own, no key of the caller's. S3 and Lambda hand nobody more: roles are given to the CDK's constructs so that they cannot add to them.

## Deploying

A deployment proves by OIDC that it is the job of `deploy.yml` in GitHub's environment `dev` or `prod`. Its token then names the environment and
not the branch, so what keeps a branch out is the environment's own rule: *Settings, Environments, dev: deployment branches, selected:
`develop`*, and `prod`: `main`. Without these two rules any branch deploys.

The role may become the CDK's roles of its own environment only, which is why each environment has a bootstrap of its own (qualifiers
`catdev`, `catprod`): under a shared one, who may deploy dev could deploy prod. CloudFormation itself works there with an administrator's
permissions within a boundary (`cdk/bootstrap.py`): nothing that bears the other environment's name, no role without the boundary of
roles, no users and keys, not its own bounds; and what the account has once is changed by prod's alone.

## A data engineer

The role is assumed with a second factor, for an hour. A session that is to repair, restore or replay has to be named so: that is in its
credentials and in CloudTrail, and nobody does it by mistake. In `~/.aws/config`:

```ini
[profile catalunya-look]
role_arn = arn:aws:iam::ACCOUNT:role/catalunya-data-engineer-role
mfa_serial = arn:aws:iam::ACCOUNT:mfa/maria
source_profile = default
role_session_name = maria

[profile catalunya-mend]
role_arn = arn:aws:iam::ACCOUNT:role/catalunya-data-engineer-role
mfa_serial = arn:aws:iam::ACCOUNT:mfa/maria
source_profile = default
role_session_name = mend-maria
```

The lake takes credentials from the environment, and knows no profiles:

```sh
eval "$(aws configure export-credentials --profile catalunya-mend --format env)"
```

## Airflow on its own premises

No key is kept there. IAM Roles Anywhere gives the orchestrator's session for a certificate whose common name is `catalunya-airflow-dev` (or
`-prod`), signed under the trust anchor that `-c trust_anchor=ARN` names; `aws_signing_helper serve` beside Airflow renews it where boto3
(`AWS_EC2_METADATA_SERVICE_ENDPOINT`) and obstore (`AWS_METADATA_ENDPOINT`) look for the credentials of a machine.
"""


def access_page() -> str:
    """The page."""
    # Of the settings only the environment is read here, whatever the variables of who writes the page say of the others.
    settings = load_settings(env=_ENV, lake="s3://lake")
    names = Names(settings=settings, partition="aws", account="ACCOUNT", region="REGION")
    lines = ["## Roles", "", "| role | whose | who may become it |", "| --- | --- | --- |"]
    lines += [f"| [`{_name(role, names)}`](#{role}) | {ROLES[role]} | {IN_WORDS[role]} |" for role in ROLES]
    for role in ROLES:
        lines += ["", f"## {role}", "", *_rows(role)]
    return _HEAD + "\n" + "\n".join(lines) + "\n"


def _name(role: str, names: Names) -> str:
    return str(getattr(names, f"{role}_role")).replace(f"-{_ENV}", "-{env}")


def _rows(role: str) -> Iterator[str]:
    yield "| may | what | if | why |"
    yield "| --- | --- | --- | --- |"
    for grant in grants(role):
        actions = ", ".join(f"`{action}`" for action in grant.verb.actions)
        condition = grant.condition.words if grant.condition else ""
        yield f"| {grant.verb.name} ({actions}) | {', '.join(grant.places)} | {condition} | {grant.why} |"

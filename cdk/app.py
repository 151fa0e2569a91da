"""The CDK app: the account's stack, and one for each environment. `python -m catalunya.cdk` is what the CDK's command runs.

Here: which stacks there are, on which graph, and what holds for all of them: tags, checks, flags. Nothing is asked of AWS, and
nothing is fetched: the graph is the compiled one (`assets/graph/discovery.py`), which is of these very sources by its fingerprint; dbt
parses only when it is not there yet. The committed snapshot (`docs/graph.json`) would do without, but it is made for people to
read the difference of, and has neither comments nor units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import cdk_nag

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.cdk.account_stack import AccountStack
from catalunya.cdk.data_stack import DataStack, ReplicaStack
from catalunya.cdk.deployment import PROFILES, Deployment
from catalunya.cdk.naming import PROJECT, Names, check_apart
from catalunya.cdk.vocabulary import QUALIFIERS
from catalunya.io.errors import ConfigurationError

FLAGS = {
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,  # else by ACL, which buckets like these refuse
    "@aws-cdk/core:checkSecretUsage": True,
    "@aws-cdk/core:validateAgainstDefaultRules": True,
    "@aws-cdk/aws-iam:minimizePolicies": True,
}


def build(
    graph: AssetGraph,
    make_package: Callable[[], Path],
    context: Mapping[str, Any] | None = None,
    *,
    outdir: Path | None = None,
) -> cdk.App:
    """The app with all its stacks; `synth()` writes it. `make_package` makes the functions' zip, `context` is what `-c` would say.

    Raises ConfigurationError where the account or a region is not known, or the graph has no marts.
    """
    if not any(asset.layer is Layer.MARTS for asset in graph):
        raise ConfigurationError(
            "the graph ends at staging: expected marts, which dbt tells of; install the extra `dbt` too"
        )
    app = cdk.App(context=FLAGS | dict(context or {}), outdir=str(outdir) if outdir else None)
    deployment = Deployment.read(app.node.try_get_context, make_package)
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    cdk.Tags.of(app).add("project", PROJECT)
    cdk.Tags.of(app).add("owner", deployment.owner)
    cdk.Tags.of(app).add("cost-center", deployment.cost_center)
    place = cdk.Environment(account=deployment.account, region=deployment.region)
    elsewhere = cdk.Environment(account=deployment.account, region=deployment.replica_region)
    environments = [names_in_template(env) for env in deployment.environments]
    check_apart(environments)
    # Who may deploy dev is not to change what bounds prod: the account's stack goes by the last one's bootstrap.
    account = AccountStack(app, environments, deployment, env=place, synthesizer=_by(environments[-1]))
    for names in environments:
        data = DataStack(app, names, graph, deployment, env=place, synthesizer=_by(names))
        data.add_stack_dependency(account)
        if PROFILES[names.env].is_replicated:
            names.check_copies()
            data.add_stack_dependency(ReplicaStack(app, names, env=elsewhere, synthesizer=_by(names)))
    return app


def names_in_template(env: str) -> Names:
    """The names of an environment with CloudFormation's own references to where it is deployed."""
    return Names.of(env, partition=cdk.Aws.PARTITION, account=cdk.Aws.ACCOUNT_ID, region=cdk.Aws.REGION)


def _by(names: Names) -> cdk.DefaultStackSynthesizer:
    """Deployed by the roles of the environment's own bootstrap."""
    return cdk.DefaultStackSynthesizer(qualifier=QUALIFIERS[names.env])

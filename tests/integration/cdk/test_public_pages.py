"""The public pages in AWS: one folder of the lake by HTTPS, through a distribution that a person deploys."""

from __future__ import annotations

from typing import Any

import pytest

from catalunya.cdk.deployment import Deployment
from catalunya.cdk.limits import bucket_policy
from catalunya.io.errors import ConfigurationError
from integration.cdk.account import ACCOUNT, NAMES
from integration.cdk.iam import Request, allowed
from small.templates import CONTEXT, Template

CERTIFICATE = f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/0a1b"


def distribution(templates: dict[str, Template], env: str) -> dict[str, Any]:
    (found,) = templates[NAMES[env].pages_stack].of("AWS::CloudFront::Distribution").values()
    return dict(found["DistributionConfig"])


@pytest.mark.parametrize("env", NAMES)
def test_a_distribution_shows_the_folder_of_the_pages_and_speaks_https(
    templates: dict[str, Template], env: str
) -> None:
    found = distribution(templates, env)
    (origin,) = found["Origins"]
    assert origin["DomainName"].startswith(f"{NAMES[env].data_bucket}.s3.")
    assert origin["OriginPath"] == "/portal"
    assert origin["OriginAccessControlId"]
    behavior = found["DefaultCacheBehavior"]
    assert (behavior["ViewerProtocolPolicy"], behavior["AllowedMethods"]) == ("redirect-to-https", ["GET", "HEAD"])
    assert behavior["Compress"] is True
    assert found["DefaultRootObject"] == "index.html"
    errors = {
        each["ErrorCode"]: (each["ResponseCode"], each["ResponsePagePath"]) for each in found["CustomErrorResponses"]
    }
    assert errors == dict.fromkeys((403, 404), (404, "/404.html"))
    assert "CacheBehaviors" not in found
    assert "Logging" not in found


def test_prod_has_its_domain_and_dev_the_name_that_cloudfront_gives(templates: dict[str, Template]) -> None:
    prod, dev = distribution(templates, "prod"), distribution(templates, "dev")
    assert prod["Aliases"] == [CONTEXT["portal_domain"]]
    assert prod["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert ("Aliases" in dev, "ViewerCertificate" in dev) == (False, False)
    outputs = templates[NAMES["prod"].pages_stack].content["Outputs"]
    assert outputs["PortalUrl"]["Value"] == f"https://{CONTEXT['portal_domain']}"


@pytest.mark.parametrize("env", NAMES)
def test_cloudfront_reads_the_pages_and_nothing_else_of_the_lake(env: str) -> None:
    names = NAMES[env]
    (statement,) = [each for each in bucket_policy(names) if each.get("Sid") == "PublicPages"]
    assert statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    mine = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1"}
    foreign = {"aws:SourceAccount": "210987654321", "aws:SourceArn": "arn:aws:cloudfront::210987654321:distribution/E1"}

    def may(action: str, path: str, keys: dict[str, str]) -> bool:
        policy = {"Statement": [{k: v for k, v in statement.items() if k != "Principal"}]}
        return allowed(Request(action, f"arn:aws:s3:::{names.data_bucket}/{path}", keys), [policy])

    assert may("s3:GetObject", "portal/ca/index.html", mine)
    assert not may("s3:GetObject", "portal/ca/index.html", foreign)
    for path in ("landing/x", "staging/x", "marts/x", "_ledger/x", "_watch/portal.json", "portals/x"):
        assert not may("s3:GetObject", path, mine)
    assert not may("s3:PutObject", "portal/ca/index.html", mine)
    assert all(
        bucket_policy(names, bucket) == [] or "PublicPages" not in str(bucket_policy(names, bucket))
        for bucket in names.buckets
        if bucket != names.data_bucket
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"portal_certificate": "none"}, "found only one"),
        ({"portal_domain": "none"}, "found only one"),
        ({"portal_domain": "https://dades.example.org"}, "expected a domain"),
        ({"portal_certificate": CERTIFICATE.replace("us-east-1", "eu-west-1")}, "a certificate in us-east-1"),
        ({"portal": "prod,staging"}, "found staging"),
    ],
)
def test_a_wrong_value_is_one_line(values: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Deployment.read((CONTEXT | {"package": __file__} | values).get, lambda: None)  # type: ignore[arg-type, return-value]
    assert said in str(error.value)
    assert "\n" not in str(error.value)

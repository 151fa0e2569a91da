"""The public pages: a distribution of CloudFront in front of one folder of the lake, which stays private.

Readers come by HTTPS and see that folder alone; CloudFront proves who it is by origin access control, and the bucket's policy (`limits.py`) lets it
read there. Distributions and access controls have ids instead of names, and IAM cannot tell those of two environments apart. So no environment's
deployment may touch any: a person deploys this stack, as the account's. Here: the distribution. Not here: what is published
(`portal/publish.py`), who may write it (`access.py`).
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudfront as cloudfront
from constructs import Construct

from catalunya.cdk.deployment import Domain
from catalunya.cdk.naming import Names
from catalunya.cdk.roles import accept

# CloudFront Developer Guide, managed policies.
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
"""Keeps a file as long as its own header says, and compresses it."""
CORS_AND_SECURITY_HEADERS = "e61eb60c-9c35-4d20-a928-2b84e02af89c"
"""Any page may read the data; HSTS for a year, nosniff, no frame of another site, a referrer within the site only."""
PRICE_CLASS = "PriceClass_100"
"""Europe and North America. A request from elsewhere is answered from there."""
MISSING = "/404.html"
MISSING_S = 60
"""How long it is remembered that a file does not exist."""


class Pages(Construct):
    """The distribution, and its address as outputs."""

    def __init__(self, scope: Construct, id: str, names: Names, domain: Domain | None) -> None:  # noqa: A002
        super().__init__(scope, id)
        control = cloudfront.CfnOriginAccessControl(
            self,
            "Access",
            origin_access_control_config=cloudfront.CfnOriginAccessControl.OriginAccessControlConfigProperty(
                name=names.pages_distribution,
                origin_access_control_origin_type="s3",
                signing_behavior="always",
                signing_protocol="sigv4",
            ),
        )
        made = cloudfront.CfnDistribution(
            self,
            "Distribution",
            distribution_config=cloudfront.CfnDistribution.DistributionConfigProperty(
                enabled=True,
                comment=f"{names.project.title}, {names.env}: public pages",
                aliases=[domain.name] if domain else None,
                default_root_object="index.html",
                http_version="http2and3",
                ipv6_enabled=True,
                price_class=PRICE_CLASS,
                origins=[
                    cloudfront.CfnDistribution.OriginProperty(
                        id="lake",
                        domain_name=f"{names.data_bucket}.s3.{names.region}.{cdk.Aws.URL_SUFFIX}",
                        origin_path=f"/{names.pages_folder}",
                        origin_access_control_id=control.attr_id,
                        s3_origin_config=cloudfront.CfnDistribution.S3OriginConfigProperty(origin_access_identity=""),
                    )
                ],
                default_cache_behavior=cloudfront.CfnDistribution.DefaultCacheBehaviorProperty(
                    target_origin_id="lake",
                    viewer_protocol_policy="redirect-to-https",
                    allowed_methods=["GET", "HEAD"],
                    cached_methods=["GET", "HEAD"],
                    compress=True,
                    cache_policy_id=CACHING_OPTIMIZED,
                    response_headers_policy_id=CORS_AND_SECURITY_HEADERS,
                ),
                # Without permission to list, S3 answers 403 for what does not exist.
                custom_error_responses=[
                    cloudfront.CfnDistribution.CustomErrorResponseProperty(
                        error_code=code, response_code=404, response_page_path=MISSING, error_caching_min_ttl=MISSING_S
                    )
                    for code in (403, 404)
                ],
                viewer_certificate=cloudfront.CfnDistribution.ViewerCertificateProperty(
                    acm_certificate_arn=domain.certificate,
                    minimum_protocol_version="TLSv1.2_2021",
                    ssl_support_method="sni-only",
                )
                if domain
                else None,
            ),
        )
        host = made.attr_domain_name
        url = f"https://{domain.name if domain else host}"
        cdk.CfnOutput(scope, "PortalUrl", value=url, description="CATALUNYA_PORTAL_URL")
        cdk.CfnOutput(scope, "PortalHost", value=host, description="What the DNS record of a domain points to")
        accept(made, "AwsSolutions-CFR1", "Open data is for everyone: no country is left out")
        accept(
            made,
            "AwsSolutions-CFR2",
            "There is nothing behind these pages but files: a firewall would cost more than all of it",
        )
        accept(
            made,
            "AwsSolutions-CFR3",
            "No one counts readers. CloudFront's own metrics show requests and errors, and cost nothing",
        )
        if domain is None:
            accept(
                made,
                "AwsSolutions-CFR4",
                "CloudFront's own certificate, which sets the oldest TLS itself; a domain of one's own has 1.2",
            )

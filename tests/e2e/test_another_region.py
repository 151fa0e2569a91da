"""The stacks of another region under cdk-nag and the rules of CloudFormation: `make test` checks those of this project, and the names of the region's."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.test_another_region import Region, region, synthesize

__all__ = ["region"]


def test_cdk_nag_and_the_rules_of_cloudformation_find_nothing(region: Region, tmp_path: Path) -> None:
    reports = json.loads((synthesize(region, tmp_path) / "validation-report.json").read_text())["pluginReports"]

    assert "AwsSolutions" in {report["pluginName"] for report in reports}
    assert [found for report in reports for found in report["violations"]] == []

"""Lambda function for CloudFormation: creates a staging table in Glue until the pipeline first publishes it.

From then on the table follows the ledger (`io/warehouse/glue.py`), and deployments leave it alone. CloudFormation's own table resource
would overwrite what the pipeline wrote, above all the list of partitions, and readers would find an empty table until the next run.
The template contains this file as it is, so it imports only what Lambda provides, and is kept small.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any

MARK = "catalunya.code_version"  # set when the table is published: io/warehouse/glue_table.py


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001
    """Answer CloudFormation: the table is as declared, or was published since; or the reason why not."""
    import boto3

    given = event["ResourceProperties"]
    name = f"{given['Database']}/{given['TableInput']['Name']}"
    answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    answer |= {"Status": "SUCCESS", "PhysicalResourceId": name}
    try:
        done = apply(boto3.client("glue"), event["RequestType"], given["Database"], given["TableInput"])
    except Exception as error:  # noqa: BLE001  without an answer, CloudFormation waits until it times out
        done = str(error)
        answer |= {"Status": "FAILED", "Reason": done[:500]}
    print(json.dumps({"event": "first_table", "table": name, "status": answer["Status"], "done": done}))  # noqa: T201
    url, body = event["ResponseURL"], json.dumps(answer).encode()
    request = urllib.request.Request(url, body, {"Content-Type": ""}, method="PUT")  # noqa: S310
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310  CloudFormation's own address


def apply(glue: Any, request: str, database: str, wanted: dict[str, Any]) -> str:
    """Create, update or delete the table, unless it was published. Returns what was done."""
    place = {"DatabaseName": database, "Name": wanted["Name"]}
    try:
        found = glue.get_table(**place)["Table"]
    except glue.exceptions.EntityNotFoundException:
        if request == "Delete":
            return "nothing: there is no such table"
        glue.create_table(DatabaseName=database, TableInput=wanted)
        return "created"
    if MARK in (found.get("Parameters") or {}):
        return "nothing: it was published"
    if request == "Delete":
        glue.delete_table(**place)
        return "deleted"
    glue.update_table(DatabaseName=database, TableInput=wanted, SkipArchive=True)
    return "updated"

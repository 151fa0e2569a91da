"""IAM in front of moto: each request of a session is translated to actions on resources, allowed or refused, recorded, and passed on.

moto enforces neither conditions nor boundaries, treats deleting many objects as an action on the bucket, and knows no resources
except S3's. Here: what a request is in IAM's terms. Not here: IAM's rules (`iam.py`). A session belongs to a role that was
assumed through this gate, or granted (`as_role`); requests signed with the tests' own keys are neither checked nor recorded.

It also imitates one more behavior of S3: callers who may not list a bucket get 403 instead of 404 for an absent object.
"""

from __future__ import annotations

import io
import json
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from integration.cdk.account import ACCOUNT
from integration.cdk.iam import Context, Request, allowed, matching, trusts
from small.aws import REGION, Aws

App = Callable[[dict[str, Any], Any], Iterable[bytes]]
ADMIN = "testing"
BEHIND = "210987654321"


@dataclass(frozen=True)
class Deployed:
    """A deployed role."""

    arn: str
    policies: tuple[Mapping[str, Any], ...]
    trust: Mapping[str, Any]
    boundary: Mapping[str, Any]


@dataclass
class Gate:
    """The WSGI app. `seen` has the allowed requests of roles, `refused` the others."""

    inner: App
    roles: Mapping[str, Deployed]
    bucket_policies: Mapping[str, Mapping[str, Any]]
    seen: list[tuple[str, Request]] = field(default_factory=list)
    refused: list[tuple[str, Request]] = field(default_factory=list)
    _sessions: dict[str, str] = field(default_factory=dict)
    _contexts: dict[str, Context] = field(default_factory=dict)
    _groups: dict[str, str] = field(default_factory=dict)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        role = self._sessions.get(_signer(environ))
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if role is None or b"Action=GetCallerIdentity" in body:  # which needs no permission
            return self.inner(environ, start_response)
        of_session = self._contexts.get(_signer(environ), {})
        requests = [replace(each, context={**of_session, **each.context}) for each in self._requests(environ, body)]
        assert requests, (
            f"unknown to the tests' IAM: {environ['REQUEST_METHOD']} {environ['PATH_INFO']} {environ.get('HTTP_X_AMZ_TARGET')}"
        )
        for request in requests:
            if not self.allows(role, request):
                self.refused.append((role, request))
                return _forbidden(request)(environ, start_response)
            self.seen.append((role, request))
        return self._answered(environ, start_response, role, requests, body)

    def as_role(self, role: str, context: Context) -> dict[str, str]:
        """Credentials of a session of a role, as environment variables; `context` are the session's condition keys."""
        key = f"SESSION{len(self._sessions)}"
        self._sessions[key], self._contexts[key] = role, context
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "testing", "AWS_SESSION_TOKEN": role}

    def allows(self, role: str, request: Request) -> bool:
        """Whether a role's own policies, the boundary and the bucket's policy allow a request."""
        bucket = request.resource.removeprefix("arn:aws:s3:::").partition("/")[0]
        return allowed(
            request,
            self.roles[role].policies,
            boundary=self.roles[role].boundary,
            resource_policy=self.bucket_policies.get(bucket),
        )

    def _requests(self, environ: dict[str, Any], body: bytes) -> Iterator[Request]:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        service, _, action = target.partition(".")
        if service == "AWSGlue":
            yield from _of_glue(action, json.loads(body))
        elif service == "AmazonAthena":
            group = self._group(json.loads(body))
            yield Request(f"athena:{action}", f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/{group}")
        elif service == "AmazonSQS":
            queue = json.loads(body)["QueueUrl"].rpartition("/")[2]
            yield Request(f"sqs:{action.removesuffix('Batch')}", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
        elif service == "Logs_20140328":
            group = json.loads(body).get("logGroupName", "")
            yield Request(
                f"logs:{action}", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:" if group else "*"
            )
        elif "/lambda/" in environ.get("HTTP_AUTHORIZATION", ""):
            name = environ["PATH_INFO"].split("/")[3]
            yield Request("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
        elif "/sns/" in environ.get("HTTP_AUTHORIZATION", ""):
            asked = dict(parse_qsl(body.decode()))
            yield Request(f"sns:{asked['Action']}", asked["TopicArn"])
        elif "/sts/" in environ.get("HTTP_AUTHORIZATION", ""):
            yield from _of_sts(dict(parse_qsl(body.decode())))
        else:
            yield from _of_s3(environ, body)

    def _group(self, payload: dict[str, Any]) -> str:
        """The work group of a query, which is the resource of the permission."""
        if named := payload.get("NamedQueryId"):
            from moto.athena.models import athena_backends

            return str(athena_backends[BEHIND][REGION].named_queries[named].workgroup.name)
        return str(payload.get("WorkGroup") or self._groups[payload["QueryExecutionId"]])

    def _answered(
        self, environ: dict[str, Any], start_response: Any, role: str, requests: list[Request], body: bytes
    ) -> Iterable[bytes]:
        """The answer of moto, with what the gate records from it or changes in it."""
        response: dict[str, Any] = {}

        def start(status: str, headers: Any, *rest: Any) -> Any:
            response.update(status=status, headers=headers)
            return lambda _: None

        answer = b"".join(self.inner(environ, start))
        action = requests[0].action
        if action == "athena:StartQueryExecution":
            self._groups[json.loads(answer)["QueryExecutionId"]] = json.loads(body)["WorkGroup"]
        if action == "sts:AssumeRole":
            return self._assumed(role, requests, answer)(environ, start_response)
        bucket = requests[0].resource.partition("/")[0]
        is_absent = action == "s3:GetObject" and response["status"].startswith("404")
        if is_absent and not self.allows(role, Request("s3:ListBucket", bucket)):
            self.refused.append((role, Request("s3:ListBucket", bucket)))
            return _forbidden(requests[0])(environ, start_response)
        if is_absent:
            self.seen.append((role, Request("s3:ListBucket", bucket)))
        start_response(response["status"], response["headers"])
        return [answer]

    def _assumed(self, role: str, requests: list[Request], answer: bytes) -> Response:
        """A session of the requested role, if its trust policy allows the caller."""
        wanted = requests[0].resource.rpartition("/")[2]
        for request in requests:
            from_it = Request(request.action, context=request.context, principal=self.roles[role].arn)
            is_ours = wanted in self.roles and self.roles[wanted].arn == request.resource
            if not is_ours or not trusts(self.roles[wanted].trust, from_it):
                self.refused.append((role, request))
                return _forbidden(request)
        key = re.search(rb"<AccessKeyId>(.*?)<", answer)
        assert key
        self._sessions[key[1].decode()] = wanted
        return Response(answer, content_type="text/xml")


def in_another_account(app: App) -> App:
    """moto keeps accounts in the process, and other tests use the same names; so this app uses a different account."""

    def elsewhere(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return app({**environ, "HTTP_X_MOTO_ACCOUNT_ID": BEHIND}, start_response)

    return elsewhere


def used(role: str, policy: Mapping[str, Any], seen: Iterable[tuple[str, Request]]) -> set[tuple[str, str, str]]:
    """What requests used of a role's policy: (statement, action, resource) of each pattern that matched one."""
    found = set()
    for request in {_key(request): request for who, request in seen if who == role}.values():
        for statement in matching(policy, request):
            for action in statement["Action"]:
                for resource in statement["Resource"]:
                    one = {**statement, "Action": [action], "Resource": [resource]}
                    if matching({"Statement": [one]}, request):
                        found.add((statement["Sid"], action, resource))
    return found


def _key(request: Request) -> tuple[str, str, str]:
    return request.action, request.resource, json.dumps(request.context, sort_keys=True)


def _signer(environ: Mapping[str, Any]) -> str:
    found = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return found[1] if found else ADMIN


def _of_s3(environ: Mapping[str, Any], body: bytes) -> Iterator[Request]:
    """Service Authorization Reference, Amazon S3: operations and the permissions that they need."""
    bucket, _, key = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"], keep_blank_values=True).items()}
    where, what = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{key}"
    method = environ["REQUEST_METHOD"]
    if not key and method == "POST" and "delete" in query:
        for each in ET.fromstring(body).iter():
            if each.tag.rpartition("}")[2] == "Key":
                yield Request("s3:DeleteObject", f"{where}/{each.text}")
    elif not key and "location" in query:
        yield Request("s3:GetBucketLocation", where)
    elif not key and method in ("GET", "HEAD"):
        assert not set(query) - {
            "list-type",
            "prefix",
            "delimiter",
            "encoding-type",
            "max-keys",
            "continuation-token",
            "marker",
        }
        yield Request("s3:ListBucket", where, {"s3:prefix": query["prefix"]} if "prefix" in query else {})
    elif key and method in ("GET", "HEAD"):
        yield Request("s3:GetObject", what)
    elif key and method == "DELETE":
        yield Request("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", what)
    elif key and method in ("PUT", "POST"):
        headers = {
            "s3:if-none-match": "HTTP_IF_NONE_MATCH",
            "s3:x-amz-server-side-encryption": "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION",
            "s3:x-amz-server-side-encryption-customer-algorithm": "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_ALGORITHM",
        }
        yield Request("s3:PutObject", what, {name: environ[at] for name, at in headers.items() if at in environ})
        if source := environ.get("HTTP_X_AMZ_COPY_SOURCE"):
            yield Request("s3:GetObject", f"arn:aws:s3:::{unquote(source).lstrip('/')}")


def _of_glue(action: str, payload: Mapping[str, Any]) -> Iterator[Request]:
    """Glue checks the permission on a resource and everything it is in: the catalog, the database, the table."""
    start = f"arn:aws:glue:{REGION}:{ACCOUNT}:"
    yield Request(f"glue:{action}", f"{start}catalog")
    if action.endswith(("Database", "Databases")):
        if name := payload.get("Name") or payload.get("DatabaseInput", {}).get("Name"):
            yield Request(f"glue:{action}", f"{start}database/{name}")
        return
    database = payload["DatabaseName"]
    yield Request(f"glue:{action}", f"{start}database/{database}")
    table = payload.get("TableName") or payload.get("Name") or payload.get("TableInput", {}).get("Name") or "*"
    yield Request(f"glue:{action}", f"{start}table/{database}/{table}")


def _of_sts(payload: Mapping[str, str]) -> Iterator[Request]:
    tags = {
        value: payload[f"{name.removesuffix('Key')}Value"] for name, value in payload.items() if name.endswith(".Key")
    }
    context: dict[str, str | list[str]] = {"aws:TagKeys": [*tags]}
    if "run" in tags:
        context["aws:RequestTag/run"] = tags["run"]
    for action in ("sts:AssumeRole", *(["sts:TagSession"] if tags else [])):
        yield Request(action, payload["RoleArn"], context)
    # IAM Roles Anywhere gives each session a source identity, which is carried over.
    yield Request("sts:SetSourceIdentity", payload["RoleArn"])


def _forbidden(request: Request) -> Response:
    message = f"not authorized to perform: {request.action} on resource: {request.resource}"
    if request.action.startswith(("sts:", "sns:")):
        error = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
        return Response(f"<ErrorResponse>{error}</ErrorResponse>", 403, content_type="text/xml")
    if request.action.startswith("s3:"):
        return Response(
            f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>", 403, content_type="text/xml"
        )
    return Response(
        json.dumps({"__type": "AccessDeniedException", "message": message}),
        400,
        content_type="application/x-amz-json-1.1",
    )


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def gate(
    inner: App,
    roles: Mapping[str, Deployed],
    bucket_policies: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[dict[str, Aws], Gate]]:
    """The gate, with a port for each role, while the block runs.

    polars caches credentials by address for the life of the process, so each role needs its own port.
    """
    front = Gate(inner, roles, bucket_policies)
    with ExitStack() as stack:
        found = {}
        for role in roles:
            server = make_server("127.0.0.1", 0, front, threaded=True, request_handler=_Quiet)
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            found[role] = Aws(f"http://127.0.0.1:{server.server_address[1]}")
        yield found, front

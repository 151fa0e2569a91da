"""`python -m catalunya.cdk`: the commands of the infrastructure.

    python -m catalunya.cdk [-c NAME=VALUE ...]             write the templates (what `cdk.json` runs; `make synth`)
    python -m catalunya.cdk plan [BASE]                     what the changes since a commit do (`make plan`)
    python -m catalunya.cdk bootstrap-template OF           print the template to bootstrap `account`, `dev` or `prod` with
    python -m catalunya.cdk deploy|diff|bootstrap|...       the CDK's own command, with all arguments that follow

Templates need no Node installation and no credentials. The CDK's own command is installed when first used
(`node.py`). Not here: what is deployed (`stacks.py`), in which order (docs/infrastructure.md).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import catalunya
from catalunya.cdk import node
from catalunya.cdk.context import NO_ACCOUNT, PAGE, VALUES
from catalunya.io.errors import CatalunyaError, ConfigurationError, UsageError
from catalunya.io.project_folder import active
from catalunya.io.safe_text import legible

ROOT = Path(catalunya.__file__).parents[2]
PACKAGE = ROOT / "dist" / "lambda.zip"
# Any values do, as long as both commits get the same.
PLAN_CONTEXT = {
    "account": NO_ACCOUNT,
    "region": "eu-west-1",
    "replica_region": "eu-central-1",
    "github_subject": "repo:example/example",
}
_TEMPLATE = ".template.json"


def synthesize(arguments: Sequence[str]) -> int:
    """Write the templates to the CDK's output folder, or to cdk.out. Returns the exit code."""
    usage = "python -m catalunya.cdk [-c NAME=VALUE ...] | plan [BASE] | bootstrap-template OF | deploy, diff, bootstrap ..."
    parser = argparse.ArgumentParser(usage=usage, description="Write the CloudFormation templates, or run a command.")
    about = "a value for the deployment; docs/infrastructure.md lists them"
    parser.add_argument("-c", "--context", action="append", default=[], metavar="NAME=VALUE", help=about)
    context = dict(pair.partition("=")[::2] for pair in parser.parse_args(arguments).context)
    if unknown := context.keys() - VALUES.keys():
        raise UsageError(f"-c {', '.join(sorted(unknown))}: expected names that are listed in {PAGE}")

    from catalunya.assets.graph.discovery import load_graph
    from catalunya.cdk.stacks import build
    from catalunya.io.environment import load_settings

    outdir = Path(os.environ.get("CDK_OUTDIR") or ROOT / "cdk.out")
    app = build(load_graph(load_settings()), _build_package, context, outdir=outdir)
    try:
        app.synth()
    except Exception as error:  # noqa: BLE001  jsii raises plain RuntimeErrors, after printing the findings
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _build_package() -> Path:
    """The functions' zip, always rebuilt, so that a stale one is never deployed; unchanged sources give the same bytes."""
    from catalunya.ops import package

    package.build(PACKAGE)
    return PACKAGE


def run_cdk(arguments: Sequence[str], *, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the CDK's own command; `capture` puts its output into the result. Raises as `node.cdk` does."""
    output = subprocess.PIPE if capture else None
    command, here = [*node.cdk(), *arguments], node.environment()
    return subprocess.run(command, env=here, check=False, text=True, stdout=output, stderr=output, encoding="utf-8")  # noqa: S603


def plan(base: str) -> int:
    """Print what the changes since a commit do to assets and infrastructure, as Markdown. Returns the exit code.

    Nothing calls AWS, so a pull request's code can be planned without credentials: this compares two commits, not a commit and what is
    deployed (that is `make diff`).
    """
    from catalunya.ops.cli import main as run_catalunya

    sys.stdout.write("## Assets\n\n")
    sys.stdout.flush()
    code = run_catalunya(["changes", "--base", base, "--format", "markdown"])
    sections = list(_changed_stacks(base))
    sys.stdout.write("\n## Infrastructure\n\n" + ("\n\n".join(sections) or "No template differs.") + "\n")
    return code


def _changed_stacks(base: str) -> Iterator[str]:
    """A Markdown section for each stack that differs, by `cdk diff` between the templates that each commit's code writes."""
    from catalunya.ops import git

    with tempfile.TemporaryDirectory(prefix="catalunya-plan-") as folder:
        scratch = Path(folder)
        git.checkout(base, scratch / "base")
        after, before = _templates_of(_now(), scratch / "after"), scratch / "none"
        if (scratch / "base" / "cdk").is_dir() or not active().is_ours:
            before = _templates_of(git.environment_of(scratch / "base"), scratch / "before")
        names = {path.name.removesuffix(_TEMPLATE) for side in (before, after) for path in side.glob(f"*{_TEMPLATE}")}
        for name in sorted(names):
            if not (after / f"{name}{_TEMPLATE}").exists():
                yield f"### {name}\n\nThis stack is no longer declared. A deployment does not delete it: delete it by hand."
            elif not (before / f"{name}{_TEMPLATE}").exists():
                yield f"### {name}\n\nThis stack is new."
            elif difference := _difference(name, before, after):
                yield f"### {name}\n\n```\n{difference}\n```"


def _now() -> dict[str, str]:
    """What makes Python run the code of the current folder; with another project, the engine that runs is the only one."""
    return {"PYTHONPATH": str(Path.cwd() / "src")} if active().is_ours else {}


def _templates_of(source: Mapping[str, str], outdir: Path) -> Path:
    """The templates that the code writes which the variables `source` select. The functions' package is empty: changes of their code
    show in the assets."""
    package = outdir.with_suffix(".zip")
    with zipfile.ZipFile(package, "w") as zipped:
        zipped.writestr(zipfile.ZipInfo("nothing"), "")
    given = [f"--context={name}={value}" for name, value in (PLAN_CONTEXT | {"package": str(package)}).items()]
    here = {**source, "CDK_OUTDIR": str(outdir), "CATALUNYA_CACHE": str(outdir.with_suffix(".cache"))}
    program = [sys.executable, "-m", "catalunya.cdk", *given]
    done = subprocess.run(program, env=os.environ | here, capture_output=True, text=True, check=False, encoding="utf-8")  # noqa: S603
    if done.returncode or not any(outdir.glob(f"*{_TEMPLATE}")):
        found = (done.stderr.strip().splitlines() or ["no error message"])[-1]
        raise ConfigurationError(
            f"could not write the templates of {' '.join(source.values()) or 'the project'}: {found}; run `make synth` there"
        )
    return outdir


def _difference(name: str, before: Path, after: Path) -> str:
    """The output of `cdk diff` for one stack; empty if there is no difference."""
    template = str(before / f"{name}{_TEMPLATE}")
    done = run_cdk(
        ["diff", name, "--app", str(after), "--template", template, "--no-color", "--exclusively"], capture=True
    )
    if done.returncode:
        raise ConfigurationError(f"cdk diff {name} failed: {done.stderr.strip()}")
    text = (done.stdout + done.stderr).strip()
    return "" if re.search(r"^There were no differences", text, flags=re.MULTILINE) else text


def print_bootstrap_template(arguments: Sequence[str]) -> int:
    """Print the template for `bootstrap --template`, of an environment or of the account. Returns the exit code."""
    from catalunya.cdk.bootstrap import bootstrap_template
    from catalunya.cdk.naming import qualifiers

    if len(arguments) != 1 or arguments[0] not in qualifiers():
        raise UsageError(f"expected one of {', '.join(qualifiers())}, found {' '.join(arguments) or 'nothing'}")
    shown = run_cdk(["bootstrap", "--show-template", "--json"], capture=True)
    if shown.returncode:
        raise ConfigurationError(f"cdk bootstrap --show-template failed: {shown.stderr.strip()}")
    sys.stdout.write(json.dumps(bootstrap_template(json.loads(shown.stdout), arguments[0]), indent=2) + "\n")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run one command. Returns the exit code."""
    command, *rest = arguments or [""]
    try:
        if not command or command.startswith("-"):
            return synthesize(arguments)
        if command == "plan":
            return plan((rest or ["HEAD"])[0])
        if command == "bootstrap-template":
            return print_bootstrap_template(rest)
        return run_cdk(arguments).returncode
    except CatalunyaError as error:
        sys.stderr.write(f"error: {legible(error)}\n")
        return error.exit_code


if __name__ == "__main__":
    gc.set_threshold(200_000, 20, 20)  # as for any command
    code = main(sys.argv[1:])
    gc.freeze()  # looks for no garbage at the end; both took a sixth of writing the templates
    sys.exit(code)

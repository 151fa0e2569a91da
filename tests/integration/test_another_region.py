"""Another region, `tests/regions/new_york`: its own tables, contracts and SQL, through the same engine, commands, DAGs and infrastructure.

Commands run in a process of the region, with CATALUNYA_PROJECT as a person would set it: one process has one project.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.spec import LandingDeclaration
from catalunya.io.environment import load_settings
from catalunya.io.project_folder import VARIABLE
from catalunya.ops.generate import rendered
from catalunya.ops.package import PROJECT, copy_sources
from small.checkout import Checkout, Shell
from small.commands import COMMAND, Ran
from small.templates import CONTEXT, Template, statements

NEW_YORK = Path(__file__).parents[1] / "regions" / "new_york"
PAGE = Path(__file__).parents[2] / "docs" / "another-region.md"
KEYS = [
    "landing.bicycle_counts",
    "landing.historic_places",
    "landing.stations",
    "staging.bicycle_counts",
    "staging.historic_places",
    "staging.stations",
    "marts.dim_boroughs",
]


@dataclass(frozen=True)
class Region:
    """The environment in which a person works on the region, and a process for what is run in it as it is, which imports dbt once.

    The output is that of something that must succeed. With `more` in its environment, it has a process of its own.
    """

    environment: dict[str, str]
    shell: Shell

    def python(self, *arguments: str, **more: str) -> str:
        """The output of Python with these arguments."""
        return self._run(sys.executable, *arguments, **more)

    def catalunya(self, *arguments: str, **more: str) -> str:
        """The output of the command."""
        return self._run(COMMAND, *arguments, **more)

    def _run(self, program: str, *arguments: str, **more: str) -> str:
        if more:
            environment = self.environment | more
            ran = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
            done = Ran(ran.returncode, ran.stdout, ran.stderr)
        else:
            done = self.shell.run(*arguments)
        assert done.code == 0, done.err + done.out
        return done.out


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    """The region with its mock, `catalunya mock` on a free port, which serves the region's samples."""
    folder = tmp_path_factory.mktemp("new_york")
    own = {name: value for name, value in os.environ.items() if not name.startswith("CATALUNYA_")}
    own |= {
        "CATALUNYA_PROJECT": str(NEW_YORK),
        "CATALUNYA_CACHE": str(folder / "cache"),
        "CATALUNYA_LAKE": str(folder / "lake"),
        "NO_COLOR": "1",
    }
    serve = "from catalunya.ops.mock import serve\nwith serve() as mock:\n    print(mock.url, flush=True)\n    input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", serve], env=own, text=True, **pipes) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        own["CATALUNYA_MOCK_URL"] = url
        with closing(Shell(Checkout(folder, own))) as shell:
            yield Region(own, shell)
        process.communicate("\n")


@pytest.fixture(scope="module")
def made(region: Region) -> str:
    """What `catalunya materialize` printed."""
    return region.catalunya("materialize")


def test_everything_is_made_from_the_samples_of_the_region(region: Region, made: str) -> None:
    assert sorted(re.findall(r"^materialized (\S+);", made, flags=re.MULTILINE)) == sorted(KEYS)
    assert "ledger and objects agree (7 assets" in region.catalunya("verify")
    found = json.loads(region.catalunya("query", "--named", "least_accessible", "--json"))
    assert {row["borough_name"]: (row["stations"], row["historic_places"]) for row in found} == {
        "Bronx": (8, 3),  # the register has one of its places in two parts
        "Brooklyn": (12, 6),
        "Manhattan": (12, 6),
        "Queens": (8, 2),
        "Staten Island": (5, 0),
    }


def test_the_commands_show_the_region_and_nothing_else(region: Region, made: str) -> None:
    assert [asset["key"] for asset in json.loads(region.catalunya("ls", "--json"))] == KEYS
    assert "Open data of New York as an asset graph" in region.catalunya("--help")
    assert "least_accessible" in (listed := region.catalunya("query", "--list"))
    assert "comarca" not in listed


def test_each_source_is_asked_at_its_own_portal_or_at_that_of_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_PROJECT", str(NEW_YORK))
    settings = load_settings(env="dev")
    landed = [each for each in declarations().values() if isinstance(each, LandingDeclaration)]
    assert {each.name: settings.http(each.source).base_url for each in landed} == {
        "bicycle_counts": "https://data.cityofnewyork.us",
        "historic_places": "https://raw.githubusercontent.com",
        "stations": "https://data.ny.gov",
    }


def test_the_generated_files_of_the_region_are_up_to_date(
    region: Region, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALUNYA_PROJECT", str(NEW_YORK))
    for name, text in rendered().items():
        assert (NEW_YORK / name).read_text() == text, f"{name}: run `python -m catalunya.ops.generate` with the project"
    generate = (
        "from catalunya.ops.generate import *; from catalunya.io.environment import load_settings; from pathlib import Path; import json;"
        "settings = load_settings(); print(json.dumps([graph_now(settings), lineage_now(settings, Path('nowhere'))]))"
    )
    graph, lineage = json.loads(region.python("-c", generate))
    assert graph == json.loads((NEW_YORK / "docs/graph.json").read_text())
    assert lineage == (NEW_YORK / "assets/lineage.json").read_text()


def test_a_function_makes_its_tables_from_the_package_of_the_region(
    region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALUNYA_PROJECT", str(NEW_YORK))
    copy_sources(tmp_path)
    assert not list(tmp_path.rglob("samples")), "what only the mock needs is not deployed"
    handle = """
import json
from catalunya.ops.lambdas import extract, transform

class Context:
    aws_request_id = "8a4b"
    def get_remaining_time_in_millis(self):
        return 900_000

answers = [extract({"asset": "landing.stations", "run_id": "r1"}, Context()),
           transform({"asset": "staging.stations", "run_id": "r1"}, Context())]
print(json.dumps([answer["status"] for answer in answers]))
"""
    package = {
        "PYTHONPATH": str(tmp_path),
        "CATALUNYA_PROJECT": str(tmp_path / PROJECT),
        "CATALUNYA_LAKE": str(tmp_path / "lake"),
    }
    answers = json.loads(region.python("-c", handle, **package).splitlines()[-1])
    assert answers == ["materialized", "materialized"]


def test_airflow_finds_a_dag_for_each_table_with_the_uris_of_the_region(
    region: Region, made: str, tmp_path: Path
) -> None:
    script = """
import gc; gc.disable()  # with the freeze, a quarter of the time
import json
from pathlib import Path
import catalunya
from airflow.dag_processing.dagbag import DagBag

bag = DagBag(Path(catalunya.__file__).parent / "dags")
print(json.dumps({"errors": bag.import_errors, "dags": {
    name: [asset.uri for task in dag.tasks for asset in task.outlets] for name, dag in bag.dags.items()
}}))
gc.freeze()
"""
    airflow = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    found = json.loads(region.python("-c", script, **airflow).splitlines()[-1])
    assert found["errors"] == {}
    assert sorted(name for name in found["dags"] if not name.startswith("ops.")) == sorted(KEYS)
    assert found["dags"]["marts.dim_boroughs"] == ["new-york://marts/dim_boroughs"]


def synthesize(region: Region, folder: Path, **more: str) -> Path:
    """The stacks of the region's dev and its account: the folder with the templates."""
    (folder / "package.zip").write_bytes(b"PK\5\6" + bytes(18))  # an empty zip: its content does not affect a template
    context = CONTEXT | {"package": str(folder / "package.zip"), "environments": "dev"}
    given = [f"--context={name}={value}" for name, value in context.items()]
    said = region.python("-m", "catalunya.cdk", *given, CDK_OUTDIR=str(folder / "out"), CATALUNYA_LAKE="", **more)
    assert said == ""
    return folder / "out"


@pytest.fixture(scope="module")
def templates(region: Region, made: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    """These stacks by name. tests/e2e/test_another_region.py checks them by cdk-nag and the rules of CloudFormation, which takes as long again."""
    written = synthesize(region, tmp_path_factory.mktemp("synth"), CDK_VALIDATION="false")
    names = {path.name.partition(".")[0]: path for path in written.glob("*.template.json")}
    return {name: Template(name, json.loads(path.read_text())) for name, path in names.items()}


def test_the_stacks_have_the_names_of_the_region(templates: dict[str, Template]) -> None:
    assert sorted(templates) == ["NewYorkAccount", "NewYorkData-dev", "NewYorkData-dev-Replica", "NewYorkPages-dev"]
    data = templates["NewYorkData-dev"]
    assert {bucket["BucketName"] for bucket in data.of("AWS::S3::Bucket").values()} == {
        f"new-york-{purpose}-dev" for purpose in ("data", "logs", "athena-marts", "athena-results")
    }
    assert {database["DatabaseInput"]["Name"] for database in data.of("AWS::Glue::Database").values()} == {
        f"new_york_{schema}_dev" for schema in ("staging", "marts", "candidates")
    }
    functions = data.of("AWS::Lambda::Function").values()
    assert {each["FunctionName"] for each in functions} >= {"new-york-extract-dev", "new-york-transform-dev"}
    variables = [each["Environment"]["Variables"] for each in functions if "extract" in each["FunctionName"]]
    assert [each["CATALUNYA_PROJECT"] for each in variables] == [f"/var/task/{PROJECT}"]


def test_nothing_in_the_templates_is_called_after_catalonia(templates: dict[str, Template]) -> None:
    """What is left is the product's: its package, its command, its variables, its marks on tables of Glue."""
    text = json.dumps([template.content for template in templates.values()])
    product = r"catalunya\.(ops\.lambdas|code_version|data_version|contract)|`catalunya |CATALUNYA_|/tmp/catalunya"
    named = {found[0] for found in re.finditer(r"[\w/.`-]*[Cc]atal(unya|onia)[\w/.-]*", re.sub(product, "", text))}
    assert all("example/catalunya" in each for each in named), (
        f"{named}: the repository of small/templates.py may be named"
    )


def test_only_the_pipeline_of_the_region_may_assume_its_roles(templates: dict[str, Template]) -> None:
    roles = templates["NewYorkData-dev"].of("AWS::IAM::Role")
    assert roles
    for role in roles.values():
        assert role["Path"] == "/new-york-dev/"
        assert "policy/new-york-account/" in str(role["PermissionsBoundary"])
        assert all(each["Effect"] == "Allow" for each in statements(role["AssumeRolePolicyDocument"]))


def test_the_image_of_the_page_is_well_formed_and_selects_the_project() -> None:
    (written,) = re.findall(r"(?ms)^```dockerfile\n(.*?)^```$", PAGE.read_text())
    command = [str(Path(sys.executable).with_name("hadolint")), "-"]
    lint = subprocess.run(command, input=written, capture_output=True, text=True, check=False)
    assert (lint.stdout, lint.returncode) == ("", 0)
    assert f"ENV {VARIABLE}=/opt/project" in written


def test_the_page_shows_the_settings_of_dbt_that_the_region_has() -> None:
    (shown,) = re.findall(r"(?ms)^```yaml\n(.*?)^```$", PAGE.read_text())
    assert yaml.safe_load(shown) == yaml.safe_load((NEW_YORK / "dbt" / "dbt_project.yml").read_text())


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The region in a git repository of its own, below its top, without the engine. It has no marts now: dbt would take seconds."""
    shutil.copytree(NEW_YORK, tmp_path / "open_data" / "ny", ignore=shutil.ignore_patterns("__pycache__", "marts.py"))
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "before"]):
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *command], check=True, cwd=tmp_path)
    return tmp_path / "open_data" / "ny"


def test_changes_and_contracts_are_compared_in_the_repository_of_the_region(region: Region, repository: Path) -> None:
    contract = repository / "contracts" / "stations.py"
    contract.write_text(contract.read_text().replace("line_name: str", "line: str"))
    (repository / "contracts" / "retired.py").write_text('RETIRED = {"marts.dim_boroughs": "count staging.stations"}\n')
    mine = {"CATALUNYA_PROJECT": str(repository), "CATALUNYA_CACHE": str(repository / "cache")}

    changed = region.catalunya("changes", "--base", "HEAD", "--format", "markdown", **mine)
    assert "| `staging.stations` | changed | code or contract |" in changed
    assert "bicycle" not in changed

    ran = subprocess.run(
        [COMMAND, "contracts", "diff", "--base", "HEAD"],
        env=region.environment | mine,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    assert "dim_boroughs: " not in ran.stdout, "it was declared to be retired"
    assert "staging.stations: raise its contract's version: `class Stations(…, version=2)`" in ran.stdout

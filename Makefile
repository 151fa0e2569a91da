# Everything you run. `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CDK := $(BIN)/python -m catalunya.cdk
# Without an environment the pattern would match the stacks of both.
STACKS = *Data-$(or $(CATALUNYA_ENV),$(error set CATALUNYA_ENV to dev or prod))*
# Whole files go to four workers, the longest first (tests/conftest.py): for two cores, because one of them tests Airflow, which is several
# processes, and one waits most of the time. The run ends when a worker dies: pytest-xdist would give its tests to a new one, which dies, too,
# and in the end wait for ever.
PYTEST := $(BIN)/python -m pytest -n 4 --dist loadfile --max-worker-restart 0 --durations 5
# The tests start hundreds of processes, which would otherwise each compile our code.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run up test e2e lint types imports contracts tests unit integration generate geometry docs lambda synth plan diff \
	deploy secrets costs bench lock setup clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /  make \1\t/' | expand -t 22

run: $(READY) ## Run the whole pipeline once on Airflow: mock APIs, landing -> staging -> marts, public pages
	@$(BIN)/catalunya run

up: $(READY) ## The same, then keep running: Airflow UI on http://localhost:8080, public pages on :8081, until Ctrl-C
	@$(BIN)/catalunya up

test: $(READY) lint imports contracts ## Lint, types, import rules, contracts, unit and integration tests
	@$(MAKE) --no-print-directory --jobs 2 types tests

lint: $(READY) ## ruff, and zizmor and actionlint on the workflows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: run $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/zizmor --offline --quiet .github
	@$(BIN)/actionlint .github/workflows/*.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml

types: $(READY) ## mypy, strict
	@cd src && ../$(BIN)/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache

imports: $(READY) ## import-linter: cdk, dags, portal, ops -> assets -> contracts, io
	@$(BIN)/lint-imports

contracts: $(READY) ## Contract changes that break readers, compared with HEAD~1 (or BASE=...)
	@$(BIN)/catalunya contracts diff $(if $(BASE),--base '$(BASE)')

tests: $(READY) ## Unit and integration tests, in one run
	@$(PYTEST) tests/unit tests/integration

unit: $(READY) ## Tests without network and without Airflow
	@$(PYTEST) tests/unit

integration: $(READY) ## Tests with the real Airflow, dbt and DuckDB
	@$(PYTEST) tests/integration

e2e: $(READY) ## End-to-end tests: dev on a real scheduler with a local AWS, `run`, `up`, Compose, S3 on SeaweedFS (not part of make test)
	@$(BIN)/python -m pytest tests/e2e --durations 5
	@CATALUNYA_TEST_S3=seaweedfs $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 tests/integration/s3 tests/e2e/s3 --durations 5

generate: $(READY) ## Write the files generated from the declarations: dbt YAML, data dictionary, settings, access, graph
	@$(BIN)/python -m catalunya.ops.generate

geometry: $(READY) ## Make the places of the portal's maps from the boundaries of es-atlas: assets/geometry/places.json
	@$(BIN)/python -m catalunya.ops.geometry

docs: $(READY) ## Build dbt's documentation of the marts: .catalunya/dbt-docs/index.html (UPLOAD=1: also into the lake)
	@$(BIN)/python -m catalunya.ops.docs $(if $(UPLOAD),--upload)

lambda: $(READY) ## Package the Lambda functions: dist/lambda.zip (arm64, Python 3.13)
	@$(BIN)/python -m catalunya.ops.package

secrets: $(READY) ## Write the secrets of docker-compose to .env, once
	@$(BIN)/python -m catalunya.ops.deployed_airflow.secrets

synth: $(READY) ## Write the CloudFormation templates to cdk.out and check them; does not call AWS
	@AWS_REGION=$${AWS_REGION:-eu-west-1} CATALUNYA_CDK_ACCOUNT=$${CATALUNYA_CDK_ACCOUNT:-000000000000} \
		CATALUNYA_CDK_REPLICA_REGION=$${CATALUNYA_CDK_REPLICA_REGION:-eu-central-1} \
		CATALUNYA_CDK_GITHUB_SUBJECT=$${CATALUNYA_CDK_GITHUB_SUBJECT:-repo:example/example} \
		$(BIN)/python -m catalunya.cdk && echo "written and checked: cdk.out"

plan: $(READY) ## Show what the changes since a commit (BASE=...) do to assets and infrastructure, as Markdown
	@$(BIN)/python -m catalunya.cdk plan '$(or $(BASE),HEAD~1)'

diff: $(READY) ## Show what a deployment of CATALUNYA_ENV would change in AWS
	@$(CDK) diff '$(STACKS)' --exclusively

deploy: $(READY) ## Deploy CATALUNYA_ENV's infrastructure; docs/infrastructure.md lists its settings
	@$(CDK) deploy '$(STACKS)' --exclusively --require-approval never

costs: $(READY) ## Count what a day costs on AWS, with a local AWS (some minutes), and what CloudWatch costs; writes docs
	@$(BIN)/python bench/aws_costs.py
	@$(BIN)/python bench/cloudwatch_table.py

bench: $(READY) ## Measure speed and memory beside a floor and peers on this machine (some minutes), and draw docs/performance.md
	@$(BIN)/python bench/run.py
	@$(BIN)/python bench/performance.py

lock: $(BIN)/uv ## Update requirements.lock, the part of it for the image, and the locks of what tests install apart
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --quiet --upgrade --output-file requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra airflow --extra dbt --extra mock --extra portal --extra server --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --constraint requirements.lock \
		--output-file requirements-image.lock
	@$(BIN)/uv pip compile tests/e2e/servers.in --python-version 3.13 --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--quiet --upgrade --output-file tests/e2e/servers.lock
	@$(BIN)/uv pip compile tests/integration/portal/datacontract.in --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --quiet --upgrade --output-file tests/integration/portal/datacontract.lock
	@for peer in dagster dlt; do $(BIN)/uv pip compile bench/peers/$$peer.in --python-version 3.11 --universal --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --quiet --upgrade --output-file bench/peers/$$peer.lock; done

setup: $(READY) ## Create .venv

clean: ## Remove .venv, node_modules, .airflow, .catalunya and data
	@rm -rf $(VENV) node_modules .airflow .catalunya data

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is required, found $$($(PYTHON) --version); try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@awk '/^uv==/ {found = 1} found {print} found && !/\\$$/ {exit}' requirements.lock > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $(VENV)/uv.txt

$(READY): requirements.lock pyproject.toml | $(BIN)/uv
	@$(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@# Relative, because Python reads this file in the encoding of the locale, and the folder may have any name.
	@printf '../../../../src\n' > "$$(ls -d $(VENV)/lib/python3*/site-packages)/_editable_impl_catalunya.pth"
	@# All but pip, the libraries' own tests and the CDK's 260 services, half of the code; what is used of it, `catalunya.cdk` compiles.
	@$(BIN)/python -m compileall -q -j 0 -x '/aws_cdk/aws_|/pip/|/tests/' $(VENV)/lib/python3*/site-packages
	@$(BIN)/python -c 'import catalunya.cdk.stacks'
	@touch $@

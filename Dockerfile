# One image for every process: api-server, scheduler, dag-processor, triggerer, workers and the mock APIs; the command selects one.
# The base image is pinned by the digest of its index (amd64, arm64); Dependabot updates tag and digest together.
# Python 3.11, the version that `make test` uses.
FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3 AS base
ENV PATH=/opt/catalunya/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

FROM base AS build
WORKDIR /build
ENV UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/catalunya
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# uv at the version and hashes of the lock, as in the Makefile.
COPY requirements.lock ./
RUN awk '/^uv==/ {found = 1} found {print} found && !/\\$/ {exit}' requirements.lock > uv.txt \
    && python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes --requirement uv.txt \
    && python -m venv --without-pip /opt/catalunya
# Dependencies rarely change: they have their own layer.
COPY requirements-image.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip sync --require-hashes --compile-bytecode requirements-image.lock
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv build --wheel --require-hashes --build-constraint requirements.lock --out-dir dist \
    && /opt/uv/bin/uv pip install --no-deps --compile-bytecode dist/*.whl
# Compile the graph at build time, so that processes start faster and a broken graph fails the build.
RUN CATALUNYA_CACHE=/build/cache catalunya ls > /dev/null

FROM base
LABEL org.opencontainers.image.title="catalunya" \
      org.opencontainers.image.description="Open data of Catalonia as an asset graph on Airflow" \
      org.opencontainers.image.licenses="Apache-2.0"
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# pg_dump for backups, of the server's version (docker-compose.yml): Debian's is older and refuses a newer server. Debian's own script adds
# PostgreSQL's repository, with the key that comes with it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install --yes --no-install-recommends postgresql-client-17 \
    && rm -rf /var/lib/apt/lists/*
ARG CATALUNYA_UID=50000
# All writable files are below one folder; the rest can be read-only.
ENV AIRFLOW_HOME=/var/lib/catalunya/airflow \
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=/var/lib/catalunya/logs \
    AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY=/var/lib/catalunya/logs/dag_processor \
    CATALUNYA_CACHE=/var/lib/catalunya/cache
RUN groupadd --gid "${CATALUNYA_UID}" catalunya \
    && useradd --uid "${CATALUNYA_UID}" --gid catalunya --no-create-home --home-dir /var/lib/catalunya \
        --shell /usr/sbin/nologin catalunya \
    && install --directory --owner=catalunya --group=catalunya --mode=0750 /var/lib/catalunya \
        /var/lib/catalunya/airflow /var/lib/catalunya/backups /var/lib/catalunya/cache /var/lib/catalunya/lake \
        /var/lib/catalunya/logs
COPY --from=build /opt/catalunya /opt/catalunya
COPY --from=build --chown=${CATALUNYA_UID}:${CATALUNYA_UID} /build/cache /var/lib/catalunya/cache
# Dokku reads these from the image when it deploys an image instead of the source.
WORKDIR /app
COPY Procfile app.json ./
USER ${CATALUNYA_UID}
CMD ["catalunya", "--help"]

# The one image of webserver, daemon and code host; its stages in the order in which they change: dependencies, package,
# tenants. The last stage is what is shipped. `host`, all of it but the tenants, is what a Docker host runs as webserver
# and daemon, so that a changed tenant replaces the code host alone.

FROM python:3.11-slim-bookworm AS base
# tini: a container's first process ignores SIGTERM unless it handles it, and inherits every orphan.
# The version is Debian's of the base's release, which nothing later replaces.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*
# The base has no bytecode, and where the root file system is read-only none can be written: each start would compile
# all that it imports. Unchecked: what lies in an image does not change.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/(test|idlelib|lib2to3|site-packages)/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && groupadd --gid 10001 apollo \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp apollo \
    && install --directory --mode=1777 /var/lib/apollo

FROM base AS dependencies
WORKDIR /build
COPY requirements.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-deps --no-compile --require-hashes --requirement requirements.txt \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

# The package runs where it lies, as on a laptop; installed are its command and its metadata alone.
FROM dependencies AS command
COPY requirements-dev.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    sed -nE '/^(editables|hatchling|packaging|pathspec|pluggy|trove-classifiers)==/,/[^\\]$/p' requirements-dev.txt >build.txt \
    && python -m venv --without-pip /build/venv \
    && python -m pip --python /build/venv/bin/python install --no-deps --require-hashes --requirement build.txt
WORKDIR /app
COPY pyproject.toml README.md ./
RUN mkdir dagster_apollo && touch dagster_apollo/__init__.py \
    && PATH=/build/venv/bin:$PATH python -c 'from hatchling.build import build_editable; build_editable("/build")' \
    && python -m pip --python /opt/venv/bin/python install --no-deps --no-compile --prefix /build/installed /build/*.whl

FROM base AS host
ENV PATH=/opt/apollo/bin:/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    APOLLO_CONTAINER=true \
    APOLLO_BIND=0.0.0.0 \
    APOLLO_STATE_DIR=/var/lib/apollo \
    APOLLO_BAKED_DIR=/opt/apollo/baked \
    DAGSTER_HOME=/var/lib/apollo/dagster
WORKDIR /app
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=command /build/installed /opt/venv
COPY scripts/entrypoint.sh /opt/apollo/bin/apollo
COPY apollo.toml dagster.yaml pyproject.toml requirements.txt ./
COPY dagster_apollo dagster_apollo
RUN python -m compileall -q --invalidation-mode unchecked-hash dagster_apollo
ENTRYPOINT ["/opt/apollo/bin/apollo"]

# Manifests are parsed here, with what tenant.yaml says of the connection and no credentials. One that cannot be parsed
# ends the build with the tenant's name and every problem. Git is what `dbt deps` fetches some packages with.
FROM base AS tenants
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    APOLLO_STATE_DIR=/var/lib/apollo
WORKDIR /app
COPY --from=host /opt/venv /opt/venv
COPY --from=host /app ./
COPY tenants tenants
ARG DBT_TARGET=prod
# What an earlier build made of a tenant that has not changed is taken from the cache.
RUN --mount=type=cache,target=/var/lib/apollo/tenants,sharing=locked \
    apollo bake /opt/apollo/baked \
    && python -m compileall -q --invalidation-mode unchecked-hash tenants

FROM host AS full
COPY --from=tenants /app/tenants tenants
COPY --from=tenants /opt/apollo/baked /opt/apollo/baked
COPY --from=tenants /opt/apollo/baked-snapshots /opt/apollo/baked-snapshots
ARG DBT_TARGET=prod
ARG VERSION=""
ARG REVISION=""
ENV DBT_TARGET=${DBT_TARGET} \
    APOLLO_RELEASE=${REVISION}
LABEL org.opencontainers.image.title="dagster-apollo" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

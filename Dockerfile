# The service, its agent and the command line.
#   docker build -t reconciler .
# With Prefect in it, for flow runs in local processes: --build-arg REQUIREMENTS=server
# With the clients of all platforms, and Prefect:       --build-arg REQUIREMENTS=all
# Pin the base by digest where you build for production: --build-arg BASE=python@sha256:...
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ARG REQUIREMENTS=base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/reconciler && python3 -m venv /opt/build
COPY requirements/ /src/requirements/
RUN /opt/build/bin/pip install --no-deps --require-hashes -r /src/requirements/build.txt \
 && /opt/reconciler/bin/pip install --no-deps --require-hashes -r /src/requirements/${REQUIREMENTS}.txt
COPY pyproject.toml README.md LICENSE /src/
COPY reconciler/ /src/reconciler/
RUN cd /src && /opt/build/bin/python -m hatchling build -t wheel -d /src/dist \
 && /opt/reconciler/bin/pip install --no-deps /src/dist/*.whl \
 && /opt/reconciler/bin/pip uninstall --yes pip setuptools \
 && /opt/reconciler/bin/python -m compileall -q /opt/reconciler/lib

FROM ${BASE}
# git and ssh read the repository; tini reaps what flow runs leave behind.
RUN if ! { command -v git && command -v ssh && command -v tini; } >/dev/null; then \
      apt-get update \
      && apt-get install -y --no-install-recommends git openssh-client tini ca-certificates \
      && rm -rf /var/lib/apt/lists/*; \
    fi \
 && useradd --uid 10001 --create-home reconciler \
 && install -d -m 700 -o reconciler -g reconciler /var/lib/reconciler
COPY --from=build /opt/reconciler /opt/reconciler
# In a container loopback reaches nobody: publish the port to those who may see the pages.
ENV PATH=/opt/reconciler/bin:$PATH HOME=/home/reconciler \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    RECONCILER_STATE_DIR=/var/lib/reconciler \
    RECONCILER_WEB_LISTEN=0.0.0.0:8383
USER 10001:10001
WORKDIR /home/reconciler
# The root can be read-only; this and /tmp are written to.
VOLUME /var/lib/reconciler
EXPOSE 8383
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['RECONCILER_WEB_LISTEN'].rpartition(':')[2] + '/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--", "reconciler"]
CMD ["serve"]

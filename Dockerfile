# The reconciler and its agent. Build: docker build -t reconciler .
# With Prefect in it, for flow runs in local processes: --build-arg REQUIREMENTS=server
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG REQUIREMENTS=base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/reconciler /opt/build
COPY requirements/ /src/requirements/
RUN /opt/build/bin/pip install --no-deps --require-hashes -r /src/requirements/build.txt \
 && /opt/reconciler/bin/pip install --no-deps --require-hashes -r /src/requirements/${REQUIREMENTS}.txt
COPY pyproject.toml README.md LICENSE /src/
COPY reconciler/ /src/reconciler/
RUN cd /src && /opt/build/bin/python -m hatchling build -t wheel -d /wheels \
 && /opt/reconciler/bin/pip install --no-deps /wheels/*.whl \
 && /opt/reconciler/bin/python -m compileall -q /opt/reconciler/lib

FROM python:${PYTHON}-slim
# git reads the repository. Run with `--init`, so that what flow runs leave behind is reaped.
RUN apt-get update \
 && apt-get install -y --no-install-recommends git openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home reconciler \
 && install -d -o reconciler -g reconciler /var/lib/reconciler
COPY --from=build /opt/reconciler /opt/reconciler
ENV PATH=/opt/reconciler/bin:$PATH PYTHONUNBUFFERED=1 RECONCILER_STATE_DIR=/var/lib/reconciler
USER 10001
WORKDIR /home/reconciler
VOLUME /var/lib/reconciler
ENTRYPOINT ["reconciler"]
CMD ["--help"]

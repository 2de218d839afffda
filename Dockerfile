# syntax=docker/dockerfile:1
# The page and the worker are one image; docker-compose.yml starts both, docs/deploy.md tells how.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
# The environment has no pip of its own: what runs the application installs nothing.
RUN python -m venv --without-pip /opt/kalm
COPY constraints.txt ./
# torch first, and from its own index: the default index's build brings several gigabytes of CUDA.
RUN --mount=type=cache,target=/root/.cache/pip \
    grep '^torch==' constraints.txt > torch.txt \
 && pip --python /opt/kalm/bin/python install --no-deps --index-url https://download.pytorch.org/whl/cpu -r torch.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY embedder ./embedder
COPY trainer ./trainer
COPY indexer ./indexer
COPY app ./app
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/kalm/bin/python install -c constraints.txt '.[postgres,remote,oidc]'

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 kalm \
 && useradd --uid 10001 --gid kalm --home-dir /data --no-create-home --shell /usr/sbin/nologin kalm \
 && install --directory --owner=kalm --group=kalm --mode=0750 /data
COPY --from=build /opt/kalm /opt/kalm
# Models are fetched into /data too, so that they outlive the container.
ENV PATH=/opt/kalm/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    HF_HOME=/data/huggingface \
    KALM_DATA_DIR=/data \
    KALM_HOST=0.0.0.0 \
    KALM_PORT=8501
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8501/healthz', timeout=4)"]
CMD ["kalm", "serve"]

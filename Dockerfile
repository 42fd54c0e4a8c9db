# Three images, none with a compiler or root:
#   gateway    the gateway with the bundled checkpoint and the CPU engine; no torch
#   model-cpu  the P2L service on the CPU engine: the same files, another command
#   model-gpu  the P2L service on vLLM
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/p2l
COPY requirements/image.txt requirements/image.txt
RUN /opt/p2l/bin/pip install --no-cache-dir --require-hashes -r requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY router router
COPY p2l_model p2l_model
RUN /opt/p2l/bin/pip install --no-cache-dir --no-deps . \
 && /opt/p2l/bin/pip uninstall --yes --quiet pip setuptools

FROM python:3.11.14-slim-bookworm AS gateway
LABEL org.opencontainers.image.title="p2l-router gateway" \
      org.opencontainers.image.description="Sends each prompt to the model most likely to win it, within a budget" \
      org.opencontainers.image.licenses="Apache-2.0"
# PYTHONSAFEPATH: a folder named "server" in the working directory must not shadow ours.
# ORT_DISABLE_TELEMETRY: as the program itself sets it; so nobody's own script in the image reports.
ENV PATH=/opt/p2l/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 DO_NOT_TRACK=1 P2L_HOST=0.0.0.0 P2L_CONFIG=/etc/p2l-router/config.yaml \
    XDG_DATA_HOME=/var/lib
RUN useradd --system --uid 10001 --no-create-home p2l \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/p2l-router
COPY --from=build /opt/p2l /opt/p2l
USER 10001
# The one place that is written to: spend and receipts, in p2l-router.db where storage.url is not set.
# Not a VOLUME: each container would get a nameless one, and the ledger be gone with the container.
WORKDIR /var/lib/p2l-router
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD \
  ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["p2l-router"]
CMD ["serve"]

FROM gateway AS model-cpu
LABEL org.opencontainers.image.title="p2l-router model service (CPU)"
ENV P2L_PORT=8001
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD \
  ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8001/readyz', timeout=2)"]
CMD ["model"]

# vLLM's own image has torch, CUDA and vLLM; ours and what it lacks are added, by range: the lock is
# for an interpreter without a GPU's libraries.
FROM vllm/vllm-openai:v0.32.0 AS model-gpu
LABEL org.opencontainers.image.title="p2l-router model service (GPU)" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    VLLM_NO_USAGE_STATS=1 HF_HUB_DISABLE_TELEMETRY=1 ORT_DISABLE_TELEMETRY=1 DO_NOT_TRACK=1 \
    P2L_HOST=0.0.0.0 P2L_PORT=8001 P2L_ENGINE=vllm
COPY pyproject.toml README.md LICENSE /src/
COPY server /src/server
COPY router /src/router
COPY p2l_model /src/p2l_model
RUN python3 -m pip install --no-cache-dir /src && rm -rf /src \
 && useradd --system --uid 10001 --no-create-home p2l
USER 10001
WORKDIR /tmp
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=300s CMD \
  ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8001/readyz', timeout=2)"]
ENTRYPOINT ["p2l-router"]
CMD ["model"]

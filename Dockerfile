# The gateway with the bundled checkpoint: no torch, no compiler, no root.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/p2l
COPY requirements/base.txt requirements/base.txt
RUN /opt/p2l/bin/pip install --no-cache-dir --require-hashes -r requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY router router
COPY p2l_model p2l_model
RUN /opt/p2l/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim-bookworm AS gateway
LABEL org.opencontainers.image.title="p2l-router" \
      org.opencontainers.image.licenses="Apache-2.0"
# PYTHONSAFEPATH: a folder named "server" in the working directory must not shadow ours.
ENV PATH=/opt/p2l/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    P2L_HOST=0.0.0.0 P2L_CONFIG=/etc/p2l-router/config.yaml
RUN useradd --system --uid 10001 --no-create-home p2l \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/p2l-router
COPY --from=build /opt/p2l /opt/p2l
USER 10001
# The one place that is written to: spend and receipts (storage.url is relative to it).
WORKDIR /var/lib/p2l-router
VOLUME /var/lib/p2l-router
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD \
  ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["p2l-router"]
CMD ["serve"]

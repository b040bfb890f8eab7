# Runs as an unprivileged user on a read-only root file system: docs/running.md, "A container", has the commands.
FROM python:3.11-slim AS build
COPY requirements.txt .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt

FROM python:3.11-slim
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /venv /venv
WORKDIR /app
COPY connector connector
COPY platforms platforms
USER 10001:10001
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\", \"8000\")}/healthz', timeout=2)"]
# Migrates the database first: safe while the previous release runs, and immediate when there is nothing to do.
CMD ["sh", "-c", "python -m connector check && python -m connector migrate && exec python -m connector serve"]

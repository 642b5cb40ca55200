# One image for backend and worker: `prelabel serve` by default, `prelabel worker` as a worker's command.
FROM python:3.12-slim AS build
RUN python -m venv /venv
COPY requirements.txt .
# --no-deps: the lock names everything already, and label-studio-ml's own pins of 2021 must not be resolved.
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps -r requirements.txt

FROM python:3.12-slim
RUN useradd --system --no-create-home --uid 10001 prelabel
COPY --from=build /venv /venv
WORKDIR /app
COPY model.py _wsgi.py gunicorn.conf.py ./
COPY prelabel prelabel
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=9090
USER prelabel
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health\", timeout=2)"]
ENTRYPOINT ["python", "-m", "prelabel"]
CMD ["serve"]

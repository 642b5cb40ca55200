# One image for backend and worker: `prelabel serve` by default, `prelabel worker` as a worker's command.
FROM python:3.12-slim AS build
RUN python -m venv --without-pip /venv
COPY requirements.txt .
# --no-deps: the lock names everything already, and label-studio-ml's own pins of 2021 must not be resolved.
# What goes again belongs to parts of Label Studio's SDK that prelabel never calls (image masks, other export formats,
# code made from schemas), and tests of the larger packages: almost 100 MB compressed of 220. That no import needs any of
# it is tried below. Compiled here, since nothing can be written where the root file system is read-only.
RUN pip --python /venv install --no-cache-dir --disable-pip-version-check --no-compile --no-deps -r requirements.txt \
    && pip --python /venv uninstall --yes --quiet opencv-python-headless pillow nltk datamodel-code-generator black isort \
    && cd /venv/lib/python3*/site-packages \
    && find pandas scipy sklearn -type d -name tests -prune -exec rm -r {} + \
    && find . -name '*.pyi' -delete \
    && /venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash .
WORKDIR /app
COPY model.py _wsgi.py gunicorn.conf.py ./
COPY prelabel prelabel
# Everything is imported once, with what prelabel itself imports only when it is needed.
RUN /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash . \
    && /venv/bin/python -B -c "\
import pkgutil, importlib, prelabel, _wsgi, gunicorn.app.wsgiapp, gunicorn.workers.gthread; \
from label_studio_sdk import LabelStudio; \
[importlib.import_module(found.name) for found in pkgutil.walk_packages(prelabel.__path__, 'prelabel.') \
 if found.name != 'prelabel.__main__']; \
studio = LabelStudio(base_url='http://localhost', api_key='-'); \
studio.users, studio.versions, studio.projects, studio.ml, studio.webhooks, studio.tasks, studio.predictions"

FROM python:3.12-slim
RUN useradd --no-create-home --home-dir /tmp --shell /usr/sbin/nologin --uid 10001 prelabel
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=9090
USER 10001:10001
EXPOSE 9090
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "-m", "prelabel.health", "serve"]
ENTRYPOINT ["python", "-m", "prelabel"]
CMD ["serve"]

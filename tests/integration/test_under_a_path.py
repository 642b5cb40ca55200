"""The backend behind a reverse proxy, under a path of its own: whether the proxy takes the path off or not."""

from urllib.parse import urlsplit

import pytest
import requests
from rq import Queue
from rq.serializers import JSONSerializer

from prelabel.bootstrap import build
from prelabel.config import Settings
from prelabel.runs.jobs import connect_project
from prelabel.store.keys import ProjectRef
from tests.fakes.llm_server import FakeLLM
from tests.fakes.reverse_proxy import reverse_proxy
from tests.integration.conftest import PROJECT, TICKETS, Start, task
from tests.integration.whole_setup import Served, all_well
from tests.servers import free_port, gunicorn, redis_server

STUDIO = {"LABEL_STUDIO_URL": "https://tools.example.com/labels/", "LABEL_STUDIO_API_KEY": "a-token"}
OUTSIDE = "https://tools.example.com/prelabel"


def test_both_kinds_of_proxies_and_the_root_get_through(redis_url: str, llm: FakeLLM) -> None:
    env = {
        "PORT": str(free_port()),
        "WORKERS": "1",
        "OPENAI_API_KEY": llm.api_key,
        "OPENAI_BASE_URL": llm.url,
        "REDIS_URL": redis_url,
        "PRELABEL_URL": f"{OUTSIDE}/",
    }
    body = {"project": PROJECT, "label_config": TICKETS, "schema": TICKETS, "tasks": [task(1, "refund")]}
    with (
        gunicorn(env) as server,
        reverse_proxy(int(env["PORT"]), "/prelabel", strips=True) as stripping,
        reverse_proxy(int(env["PORT"]), "/prelabel", strips=False) as keeping,
        requests.Session() as http,
    ):
        http.trust_env = False
        for url in (server.url, stripping, keeping):
            assert http.get(f"{url}/health", timeout=5).json()["status"] == "UP"
            assert http.get(url, timeout=5).json()["status"] == "UP"
            assert http.post(f"{url}/setup", json=body, timeout=5).json()["model_version"]
            assert http.post(f"{url}/predict", json=body, timeout=15).json()["results"][0]["score"] > 0
            assert http.get(f"{url}/runs", timeout=5).json() == {"runs": []}
            assert http.get(f"{url}/none", timeout=5).json()["error"]["type"] == "not_found"


@pytest.mark.parametrize("asked", ["/prelabel/health", "/health", "/prelabel", "/"])
def test_the_path_may_be_there_or_not(start: Start, asked: str) -> None:
    reply = start(PRELABEL_URL=OUTSIDE).http.get(asked)

    assert reply.status_code == 200


@pytest.mark.parametrize("asked", ["/prelabelling/health", "/prelabel/prelabel/health", "/prelabel/prelabel"])
def test_what_is_not_the_path_is_not_taken_off(start: Start, asked: str) -> None:
    assert start(PRELABEL_URL=OUTSIDE).http.get(asked).status_code == 404


def test_without_a_path_there_is_none(start: Start) -> None:
    assert start(PRELABEL_URL="https://prelabel.example.com/").http.get("/prelabel/health").status_code == 404


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        ({}, ["http://backend.internal:9090"]),
        (
            {"PRELABEL_URL": f"{OUTSIDE}/"},
            [OUTSIDE, "http://backend.internal:9090/prelabel", "http://backend.internal:9090"],
        ),
        ({"PRELABEL_URL": "http://backend.internal:9090"}, ["http://backend.internal:9090"]),
    ],
)
def test_a_project_that_turns_up_is_looked_for_under_the_address_of_the_settings_first(
    start: Start, settings: dict[str, str], addresses: list[str]
) -> None:
    """Behind a proxy the request names the backend as the proxy knows it, which need not be as Label Studio does.

    Then under that address with the path and without it, by either of which it may have been added by hand.
    """
    backend = start(**STUDIO, **settings)
    path = urlsplit(settings.get("PRELABEL_URL", "")).path.rstrip("/")

    for asked in {"/setup", f"{path}/setup"}:
        body = {"project": PROJECT, "schema": TICKETS}
        assert backend.http.post(asked, json=body, base_url="http://backend.internal:9090").status_code == 200
        queue = Queue(
            "prelabel:tools.example.com/labels", connection=backend.work.jobs._client, serializer=JSONSerializer
        )
        [job] = queue.jobs
        assert job.args == [PROJECT, *addresses]
        job.delete()
        backend.work.projects.release_job(ProjectRef.parse(PROJECT), "adopt")


def test_a_backend_that_was_added_by_hand_without_the_path_is_adopted_there(llm: FakeLLM) -> None:
    with redis_server() as redis, all_well(redis.url, llm) as setup:
        inner, ref = setup.work.settings.address, ProjectRef.parse(PROJECT)
        setup.work.projects.forget(ref.id)
        setup.backend.stop()
        work = build(Settings.from_env({**setup.env, "PRELABEL_URL": OUTSIDE}))
        setup.stack.callback(work.close)
        setup.stack.callback(Served(work, work.settings.port).stop)
        queue = Queue(work.jobs.name, connection=work.jobs._client, serializer=JSONSerializer)

        work.studio().ml_backends(ref.id)  # at which Label Studio asks each
        [job] = queue.jobs
        connection = connect_project(work, ref, *job.args[1:], adopt_only=True)

        assert job.func_name == "prelabel.runs.jobs.adopt"
        assert connection.changes == ()
        assert work.projects.state(ref).backend_url == inner


def test_a_label_studio_under_a_path_has_keys_of_its_own(start: Start) -> None:
    start(**STUDIO).event("ANNOTATION_CREATED", annotation={"id": 1, "result": []}, task=task(1, "x"))
    other = start(**{**STUDIO, "LABEL_STUDIO_URL": "https://tools.example.com"})

    kept = {str(key).split(":")[2] for key in other.work.redis.scan_iter("prelabel:1:*")}
    assert kept == {"tools.example.com/labels"}

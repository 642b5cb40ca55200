"""docker-compose.yml's services as plain processes: its commands, environment and health checks, on loopback."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import which

import redis
import requests

from deploy.stack.redis_program import find_redis
from tests.compose import REQUIRED, dockerfile, health_check, image_command, image_env, services
from tests.servers import REPOSITORY, Running, free_port, gunicorn, redis_server, rq_worker

STACK = services(REQUIRED)


def run(command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"], **env}, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def check(service: str, env: Mapping[str, str]) -> bool:
    """Whether a service's health check is content."""
    python, *arguments = health_check(STACK[service])
    assert python == "python"
    return run([sys.executable, *arguments], env).returncode == 0


def environment(service: str, redis_url: str, port: int) -> dict[str, str]:
    """A container's, with the names of the compose network mapped to loopback."""
    mapped = {"REDIS_URL": redis_url, "HOST": "127.0.0.1", "PORT": str(port)}
    given = STACK[service]["environment"]
    assert mapped.keys() <= given.keys()
    return {**image_env(), **given, **mapped, "PATH": os.environ["PATH"]}


def test_redis_keeps_its_volume_up_to_date_and_is_asked_whether_it_is_well(tmp_path: Path) -> None:
    with redis_server(STACK["redis"]["command"][1:]) as server:
        port = server.url.rpartition(":")[2].partition("/")[0]
        client, *question = health_check(STACK["redis"])
        beside = str(Path(find_redis().path).with_name(client))
        command = [which(client) or beside, "-p", port, *question]

        assert run(command, {}).stdout == "PONG\n"
        assert list(server.process.log.parent.rglob("*.aof")), "in the folder that the volume is mounted at"
    assert run(command, {}).returncode != 0


def test_backend_and_worker_run_and_are_known_to_be_well(redis_url: str) -> None:
    port = free_port()
    env = environment("backend", redis_url, port)
    assert image_command() == ["python", "-m", "prelabel", "serve"]
    assert image_command(STACK["worker"]["command"]) == ["python", "-m", "prelabel", "worker"]
    assert not check("backend", env)
    assert not check("worker", env)

    with ExitStack() as running:
        backend: Running = running.enter_context(gunicorn(env))
        running.enter_context(rq_worker(environment("worker", redis_url, port)))

        assert check("backend", env)
        assert check("worker", env)
        with requests.Session() as http:
            http.trust_env = False
            assert http.get(f"{backend.url}/runs", timeout=5).status_code == 401
            auth = (env["BASIC_AUTH_USER"], env["BASIC_AUTH_PASS"])
            assert http.get(f"{backend.url}/runs", auth=auth, timeout=5).json() == {"runs": []}

    assert not check("backend", env)
    assert not check("worker", env), "a worker that ended is not there any more"


def test_a_worker_that_has_lost_redis_is_not_well(redis_url: str) -> None:
    env = environment("worker", f"redis://127.0.0.1:{free_port()}/0", 9090)

    found = run([sys.executable, "-m", "prelabel.health", "worker"], env)

    assert found.returncode == 1
    assert "Redis does not answer" in found.stderr


def test_a_worker_elsewhere_does_not_make_this_one_well(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        connection.sadd("rq:workers", "rq:worker:elsewhere")
        heard = "2999-01-01T00:00:00.000000Z"
        connection.hset("rq:worker:elsewhere", mapping={"hostname": "another", "last_heartbeat": heard, "queues": "q"})

    found = run([sys.executable, "-m", "prelabel.health", "worker"], {"REDIS_URL": redis_url})

    assert found.returncode == 1
    assert "no worker of" in found.stderr


def test_a_check_of_something_else_is_refused() -> None:
    assert run([sys.executable, "-m", "prelabel.health", "redis"], {}).returncode == 2


def test_the_image_asks_the_backend_and_not_a_proxy() -> None:
    """``HTTP_PROXY`` is often given to all containers; it would know nothing of a container's loopback."""
    assert dockerfile("HEALTHCHECK").endswith('["python", "-m", "prelabel.health", "serve"]')
    with gunicorn({"PORT": str(free_port())}) as server:
        env = {"PORT": server.url.rpartition(":")[2], "http_proxy": f"http://127.0.0.1:{free_port()}"}

        assert run([sys.executable, "-m", "prelabel.health", "serve"], env).returncode == 0

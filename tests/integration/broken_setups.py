"""Whole set-ups in each of which one thing is broken: what a doctor must find, and nothing else."""

import socket
from collections.abc import Callable

from prelabel.bootstrap import build
from prelabel.config import Settings
from tests.fakes.llm_replies import Fault, Hang
from tests.fakes.studio_server import PAST, jwt
from tests.integration.project_seven import REF
from tests.integration.whole_setup import Served, Setup

NOWHERE = "http://127.0.0.1:1"
NO_HOST = "no-such-host.invalid"


Break = Callable[[Setup], object]


def both(*breaking: Break) -> Break:
    def break_all(it: Setup) -> None:
        for each in breaking:
            each(it)

    return break_all


def in_container(it: Setup) -> None:
    it.in_container = True


def with_project(**fields: object) -> Break:
    return lambda it: it.studio.projects[7].update(fields)


def with_backend(**fields: object) -> Break:
    return lambda it: it.studio.ml_backends[0].update(fields)


def with_webhook(**fields: object) -> Break:
    return lambda it: it.studio.webhooks[0].update(fields)


def with_env(**env: str) -> Break:
    return lambda it: it.set(**env)


def other_password(it: Setup) -> None:
    """The backend and Label Studio go on with the old one, the doctor is told a new one."""
    it.set(BASIC_AUTH_PASS="new")


def no_worker(it: Setup) -> None:
    it.redis.delete("rq:workers", f"rq:workers:{it.work.jobs.name}")


def swapped_token(it: Setup) -> None:
    it.studio.allows_legacy = False


def with_personal_token(it: Setup) -> None:
    it.set(LABEL_STUDIO_API_KEY=it.studio.personal_token)


def revoked(it: Setup) -> None:
    with_personal_token(it)
    it.studio.is_blacklisted = True


def personal_disabled(it: Setup) -> None:
    with_personal_token(it)
    it.studio.allows_personal = False


def elsewhere(it: Setup) -> None:
    it.studio.redirects_to = "https://labels.example.com"


def silent_studio(it: Setup) -> None:
    it.studio.is_silent = True


def silent_redis(it: Setup) -> None:
    listener = it.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    it.set(REDIS_URL=f"redis://127.0.0.1:{listener.getsockname()[1]}/0")


def no_backend_elsewhere(it: Setup) -> None:
    """It was connected by an address that nothing listens at."""
    it.work.projects.set_connected(REF, title=it.version, backend_url=NOWHERE, own_user=1)
    it.studio.ml_backends[0]["url"] = NOWHERE
    it.studio.webhooks[0]["url"] = f"{NOWHERE}/webhook"


def other_redis_for_the_backend(it: Setup) -> None:
    it.backend.stop()
    env = {**it.env, "LABEL_STUDIO_API_KEY": "f" * 40}
    work = build(Settings.from_env(env))
    it.stack.callback(work.close)
    it.stack.callback(Served(work, work.settings.port).stop)


BROKEN: dict[str, tuple[Break, set[str], str, str]] = {
    "a variable with a value that is not allowed": (
        with_env(LLM_TIMEOUT="soon"),
        {"settings"},
        "LLM_TIMEOUT='soon': Input should be a valid number",
        "start backend and workers again",
    ),
    "a password without its user": (
        with_env(BASIC_AUTH_USER=""),
        {"settings"},
        "BASIC_AUTH_USER and BASIC_AUTH_PASS go together",
        "correct it",
    ),
    "a port open to all without a password": (
        with_env(BASIC_AUTH_USER="", BASIC_AUTH_PASS="", HOST="0.0.0.0"),
        {"listening", "backend", "project 7 ml backend"},
        "0.0.0.0 listens beyond this machine",
        "set BASIC_AUTH_USER and BASIC_AUTH_PASS",
    ),
    "no Redis": (
        with_env(REDIS_URL="redis://127.0.0.1:1/0"),
        {"redis"},
        "nothing listens at redis://127.0.0.1:1/0",
        "start it (redis-server --appendonly yes)",
    ),
    "Redis at a host that is not known": (
        with_env(REDIS_URL=f"redis://:secret@{NO_HOST}:6379/0"),
        {"redis"},
        f"no host '{NO_HOST}' is known here",
        f"REDIS_URL=redis://{NO_HOST}:6379/0",
    ),
    "Redis with a password": (
        lambda it: it.redis.config_set("requirepass", "hush"),
        {"redis"},
        "wants another password than REDIS_URL has",
        "redis://:PASSWORD@127.0.0.1",
    ),
    "something else where Redis should be": (
        lambda it: it.set(REDIS_URL=it.studio.url.replace("http", "redis") + "/0"),
        {"redis"},
        "is not Redis",
        "set REDIS_URL to where Redis is",
    ),
    "Redis that says nothing": (silent_redis, {"redis"}, "gives no answer in time", "firewall"),
    "Redis asked for TLS": (
        lambda it: it.set(REDIS_URL=it.env["REDIS_URL"].replace("redis:", "rediss:")),
        {"redis"},
        "asks for TLS of a server that does not speak it",
        "set REDIS_URL=redis://127.0.0.1",
    ),
    "Redis with a full memory": (
        lambda it: it.redis.config_set("maxmemory", "1"),
        {"redis"},
        "it takes no writes (command not allowed when used memory > 'maxmemory'",
        "its disk or memory is full",
    ),
    "a wrong key": (
        with_env(OPENAI_API_KEY="sk-wrong"),
        {"llm"},
        "answered 401 (invalid_api_key)",
        "check OPENAI_API_KEY",
    ),
    "a model that the server does not have": (
        lambda it: setattr(it.llm, "models", ("llama3", "qwen3")),
        {"llm"},
        "does not know the model 'gpt-4o-mini'",
        "set OPENAI_MODEL to one of its own: llama3, qwen3",
    ),
    "a base URL without /v1": (
        lambda it: it.set(OPENAI_BASE_URL=it.llm.url.removesuffix("/v1")),
        {"llm"},
        "is not where the server speaks OpenAI's protocol",
        "/v1",
    ),
    "an LLM on localhost, seen from a container": (
        both(with_env(OPENAI_BASE_URL="http://localhost:1/v1"), in_container),
        {"llm"},
        "this is a container, whose localhost is the container itself",
        "set OPENAI_BASE_URL to http://host.docker.internal:1/v1",
    ),
    "an LLM at a host that is not known": (
        with_env(OPENAI_BASE_URL=f"https://{NO_HOST}/v1"),
        {"llm"},
        f"no host '{NO_HOST}'",
        "OPENAI_BASE_URL",
    ),
    "an LLM asked for https": (
        lambda it: it.set(OPENAI_BASE_URL=it.llm.url.replace("http:", "https:")),
        {"llm"},
        "asks for TLS of a server that does not speak it",
        "set OPENAI_BASE_URL=http://127.0.0.1",
    ),
    "an LLM that is overloaded": (
        lambda it: it.llm.enqueue(Fault(503)),
        {"llm"},
        "answered 503 (server_error)",
        "status page",
    ),
    "an LLM that hangs": (
        both(lambda it: it.llm.enqueue(Hang(30)), with_env(LLM_TIMEOUT="0.3")),
        {"llm"},
        "no answer within LLM_TIMEOUT=0.3 s",
        "LLM_TIMEOUT",
    ),
    "an account without balance": (
        lambda it: it.llm.enqueue(Fault(402)),
        {"llm"},
        "answered 402",
        "quota or balance is used up",
    ),
    "a model that will not have the request": (
        lambda it: it.llm.enqueue(Fault(400)),
        {"llm"},
        "answered 400",
        "check OPENAI_MODEL and OPENAI_BASE_URL",
    ),
    "no Label Studio": (
        with_env(LABEL_STUDIO_URL=NOWHERE),
        {"label studio"},
        f"nothing listens at {NOWHERE}",
        "set LABEL_STUDIO_URL to where it is",
    ),
    "neither address nor token of Label Studio": (
        with_env(LABEL_STUDIO_URL="", LABEL_STUDIO_API_KEY=""),
        {"label studio"},
        "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are not set",
        "create a personal access token",
    ),
    "no token": (
        with_env(LABEL_STUDIO_API_KEY=""),
        {"label studio"},
        "LABEL_STUDIO_API_KEY is not set",
        "create a personal access token",
    ),
    "Label Studio on localhost, seen from a container": (
        both(with_env(LABEL_STUDIO_URL="http://localhost:1"), in_container),
        {"label studio"},
        "this is a container",
        "http://host.docker.internal:1 if it runs on the machine itself, or to http://label-studio:1",
    ),
    "the address of one of Label Studio's pages": (
        lambda it: it.set(LABEL_STUDIO_URL=it.studio.url + "/projects/7/data"),
        {"label studio"},
        "what answers there is not Label Studio's API (404",
        "up to where /projects begins",
    ),
    "another server at Label Studio's address": (
        lambda it: it.set(LABEL_STUDIO_URL=it.serve(200, b"<html>It works!</html>")),
        {"label studio"},
        "is not Label Studio's API (200",
        "set LABEL_STUDIO_URL",
    ),
    "a proxy without Label Studio behind it": (
        lambda it: it.set(LABEL_STUDIO_URL=it.serve(502, b"<html>Bad Gateway</html>")),
        {"label studio"},
        "answers 502",
        "the proxy in front of Label Studio does not reach it",
    ),
    "Label Studio asked for https": (
        lambda it: it.set(LABEL_STUDIO_URL=it.studio.url.replace("http:", "https:")),
        {"label studio"},
        "asks for TLS",
        "set LABEL_STUDIO_URL=http://127.0.0.1",
    ),
    "Label Studio asked for http": (
        lambda it: it.set(LABEL_STUDIO_URL=it.serve(400, b"The plain HTTP request was sent to HTTPS port")),
        {"label studio"},
        "asks for plain HTTP of a server that speaks HTTPS",
        "set LABEL_STUDIO_URL=https://127.0.0.1",
    ),
    "Label Studio moved": (
        elsewhere,
        {"label studio"},
        "sends elsewhere",
        "LABEL_STUDIO_URL=https://labels.example.com",
    ),
    "Label Studio that hangs": (silent_studio, {"label studio"}, "gives no answer in time", "firewall"),
    "a wrong token": (
        with_env(LABEL_STUDIO_API_KEY="f" * 40),
        {"token"},
        "(401: Invalid token.)",
        "create a personal access token",
    ),
    "a legacy token where these are disabled": (
        swapped_token,
        {"token"},
        "legacy token authentication has been disabled",
        "legacy token authentication is disabled in this Label Studio",
    ),
    "an access token": (
        lambda it: it.set(LABEL_STUDIO_API_KEY=it.studio.access_token),
        {"token"},
        "is an access token, which lives five minutes",
        "create a personal access token",
    ),
    "an access token that has expired": (
        with_env(LABEL_STUDIO_API_KEY=jwt("access", PAST)),
        {"token"},
        "is an access token",
        "create a personal access token",
    ),
    "a personal token that was revoked": (revoked, {"token"}, "Token is blacklisted", "unknown, expired or revoked"),
    "a personal token where these are disabled": (
        personal_disabled,
        {"token"},
        "credentials were not provided",
        "personal access tokens are switched off",
    ),
    "a token with the word before it": (
        lambda it: it.set(LABEL_STUDIO_API_KEY=f"Token {it.studio.legacy_token}"),
        {"token"},
        "should not contain spaces",
        "the token alone, without 'Token'",
    ),
    "no worker": (
        no_worker,
        {"workers"},
        "none is running",
        "python -m prelabel worker",
    ),
    "no backend": (
        lambda it: it.backend.stop(),
        {"backend"},
        "nothing listens at http://localhost",
        "python -m prelabel serve",
    ),
    "something else at the backend's port": (
        both(
            lambda it: it.backend.stop(),
            lambda it: it.set(PRELABEL_URL=it.serve(200, b'{"status": "UP", "model_class": "NewModel"}')),
        ),
        {"backend"},
        "is not prelabel (200)",
        "set PORT and PRELABEL_URL",
    ),
    "a backend with another password": (
        other_password,
        {"backend", "project 7 webhook"},
        "wants another BASIC_AUTH_USER or BASIC_AUTH_PASS",
        "start it with the same settings",
    ),
    "a backend with another token": (
        other_redis_for_the_backend,
        {"backend"},
        "fails where this command does not: label_studio: Label Studio at",
        "start it with the same settings",
    ),
    "a project that Label Studio no longer has": (
        lambda it: it.studio.projects.clear(),
        {"project 7"},
        "Label Studio no longer has it",
        "python -m prelabel forget --project 7",
    ),
    "a project that was made anew": (
        with_project(created_at="2026-11-22T00:00:00Z"),
        {"project 7"},
        "a newer project of this number",
        "connect --project 7",
    ),
    "a project that was never connected": (
        both(
            lambda it: it.studio.projects.update({8: {**it.studio.projects[7], "id": 8}}),
            lambda it: setattr(it, "project", 8),
        ),
        {"project 8"},
        "it is not connected",
        "python -m prelabel connect --project 8",
    ),
    "a label config with nothing to answer": (
        with_project(label_config='<View><Image name="i" value="$i"/><Choices name="c" toName="i"/></View>'),
        {"project 7 label config"},
        "Choices 'c': it is about a Image",
        "Settings > Labeling Interface",
    ),
    "no ML backend": (
        lambda it: it.studio.ml_backends.clear(),
        {"project 7 ml backend"},
        "Label Studio has no ML backend http://localhost",
        "python -m prelabel connect --project 7",
    ),
    "a title that is not the version": (
        with_backend(title="my-llm"),
        {"project 7 ml backend"},
        "its title was 'my-llm'",
        "connect --project 7",
    ),
    "interactive pre-annotation off": (
        with_backend(is_interactive=False),
        {"project 7 ml backend"},
        "interactive pre-annotation was off",
        "connect --project 7",
    ),
    "an old password in Label Studio": (
        with_backend(password="old"),
        {"project 7 ml backend"},
        "Label Studio sends another password",
        "connect --project 7",
    ),
    "an address that Label Studio does not reach": (
        no_backend_elsewhere,
        {"project 7 ml backend"},
        f"Label Studio does not reach {NOWHERE}",
        f"open {NOWHERE}/health from where Label Studio runs",
    ),
    "a project that shows another version's scores": (
        with_project(model_version="v3"),
        {"project 7 version"},
        "the project shows scores of 'v3'",
        "connect --project 7",
    ),
    "an ML backend saved without its webhook": (
        lambda it: it.studio.webhooks.clear(),
        {"project 7 webhook"},
        "saved without its webhook",
        "SSRF_PROTECTION_ENABLED=false",
    ),
    "a webhook without its secret": (
        with_webhook(headers={}),
        {"project 7 webhook"},
        "its secret header was missing or another",
        "connect --project 7",
    ),
    "a webhook that is off": (with_webhook(is_active=False), {"project 7 webhook"}, "it was inactive", "connect"),
    "a project with a model of its own that is unknown": (
        lambda it: it.work.projects.set_settings(REF, {"OPENAI_MODEL": "gpt-9"}),
        {"project 7 llm", "project 7 ml backend", "project 7 version"},
        "does not know the model 'gpt-9'",
        "gpt-4o-mini, gpt-4o",
    ),
}
"""What is broken: how, all checks that fail, and what the first of them says and advises."""

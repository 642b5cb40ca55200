"""Connecting puts right what is wrong and writes nothing else; refusals say what to do."""

import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace

import httpx
import pytest
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.parse_error import ParsingError

from prelabel.config import Settings
from prelabel.errors import StudioError
from prelabel.studio.connect import Connection, connect, known_address, sync_title
from prelabel.studio.refusals import explain, translated
from prelabel.studio.rows import BasicAuth, MLBackend, StudioProject, Webhook
from prelabel.studio.wiring import ACTIONS, Plan, Wanted, plan_backend, plan_webhook, same_url

URL = "http://backend:9090"
SETTINGS = Settings.from_env({"BASIC_AUTH_USER": "bot", "BASIC_AUTH_PASS": "pass", "WEBHOOK_SECRET": "hush"})
WANTED = Wanted.by_settings(URL, "v2", SETTINGS)
BACKEND = MLBackend(1, URL, "v2", is_interactive=True, state="CO", auth_user="bot", has_password=True)
WEBHOOK = Webhook(
    id=1,
    url=f"{URL}/webhook",
    is_active=True,
    send_payload=True,
    send_for_all_actions=False,
    headers={"X-Prelabel-Secret": "hush"},
    actions=frozenset(ACTIONS),
)


class FakeStudio:
    """A project that behaves as Label Studio does when rows come and go; ``writes`` names what was called."""

    def __init__(self, backends: Sequence[MLBackend] = (), webhooks: Sequence[Webhook] = (), version: str = "") -> None:
        self.backends = {row.id: row for row in backends}
        self.hooks = {row.id: row for row in webhooks}
        self.version = version
        self.sees_predictions = True
        self.guards_webhooks = False
        self.writes: list[str] = []

    def project(self, project_id: int) -> StudioProject:
        return StudioProject(project_id, 1_700_000_000, "Tickets", "<View/>", self.version, self.sees_predictions)

    def set_project_version(self, project_id: int, version: str) -> None:
        self.writes.append("set_project_version")
        self.version = version

    def ml_backends(self, project_id: int) -> list[MLBackend]:
        return list(self.backends.values())

    def add_ml_backend(self, project_id: int, *, url: str, title: str, auth: BasicAuth | None) -> MLBackend:
        self.writes.append("add_ml_backend")
        row = replace(BACKEND, id=len(self.backends) + 1, url=url, title=title, auth_user=auth.user if auth else "")
        self.backends[row.id] = row
        self.create_webhook(project_id, url=f"{url}/webhook", headers={}, actions=())
        self.version = self.version or title
        return row

    def update_ml_backend(
        self, backend_id: int, *, project_id: int, url: str, title: str, auth: BasicAuth | None
    ) -> MLBackend:
        self.writes.append("update_ml_backend")
        if self.version == self.backends[backend_id].title:
            self.version = title
        row = replace(BACKEND, id=backend_id, url=url, title=title, auth_user=auth.user if auth else "")
        self.backends[backend_id] = row
        return row

    def delete_ml_backend(self, backend_id: int) -> None:
        self.writes.append("delete_ml_backend")
        if self.backends.pop(backend_id).title == self.version:
            self.version = ""

    def webhooks(self, project_id: int) -> list[Webhook]:
        return list(self.hooks.values())

    def create_webhook(
        self, project_id: int, *, url: str, headers: Mapping[str, str], actions: Sequence[str]
    ) -> Webhook:
        self.writes.append("create_webhook")
        if self.guards_webhooks:
            raise StudioError("reserved network address")
        row = replace(WEBHOOK, id=len(self.hooks) + 1, url=url, headers=headers, actions=frozenset(actions))
        self.hooks[row.id] = row
        return row

    def update_webhook(self, webhook_id: int, *, headers: Mapping[str, str], actions: Sequence[str]) -> None:
        self.writes.append("update_webhook")
        self.hooks[webhook_id] = replace(
            WEBHOOK, id=webhook_id, url=self.hooks[webhook_id].url, headers=headers, actions=frozenset(actions)
        )

    def delete_webhook(self, webhook_id: int) -> None:
        self.writes.append("delete_webhook")
        del self.hooks[webhook_id]

    def connect(self, *, adopt_only: bool = False, settings: Settings = SETTINGS) -> Connection:
        return connect(self, 7, backend_url=URL, title="v2", settings=settings, adopt_only=adopt_only)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://backend:9090", "http://backend:9090/"),
        ("http://Backend:9090", "HTTP://backend:9090"),
        ("http://backend", "http://backend:80/"),
        ("https://backend/ml", "https://backend:443/ml/"),
        (" http://[::1]:9090", "http://[::1]:9090"),
    ],
)
def test_urls_that_lead_to_the_same_place_are_the_same(one: str, other: str) -> None:
    assert same_url(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://backend:9090", "http://backend:9091"),
        ("http://backend", "https://backend"),
        ("http://backend/ml", "http://backend/ML"),
        ("http://backend:9090", "http://backend:port"),
        ("http://backend:port", "http://backend:tort"),
    ],
)
def test_urls_that_lead_elsewhere_are_not(one: str, other: str) -> None:
    assert not same_url(one, other)


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (BACKEND, ()),
        (replace(BACKEND, url=f"{URL}/", state="TR"), ()),
        (replace(BACKEND, title="v1"), ("its title was 'v1'",)),
        (replace(BACKEND, is_interactive=False), ("interactive pre-annotation was off",)),
        (replace(BACKEND, auth_user="", has_password=False), ("its basic auth was not that of the settings",)),
        (replace(BACKEND, has_password=False), ("its basic auth was not that of the settings",)),
        (replace(BACKEND, state="ER", error_message="401"), ("Label Studio could not use it (401)",)),
        (replace(BACKEND, state="DI"), ("Label Studio could not use it (not reached)",)),
    ],
)
def test_what_is_wrong_with_an_ml_backend_is_named(found: MLBackend, wrong: tuple[str, ...]) -> None:
    assert plan_backend([found], WANTED) == Plan(found, wrong)


def test_basic_auth_that_nobody_wants_is_wrong_but_a_password_left_behind_is_not() -> None:
    left_behind = replace(BACKEND, auth_user="")
    wanted = Wanted(URL, "v2")

    assert plan_backend([left_behind], wanted) == Plan(left_behind)
    assert plan_backend([BACKEND], wanted).wrong == ("its basic auth was not that of the settings",)


def test_the_first_ml_backend_of_our_address_is_kept_and_others_are_left_alone() -> None:
    second, other = replace(BACKEND, id=2, url=f"{URL}/"), replace(BACKEND, id=3, url="http://other:9090")

    assert plan_backend([other, BACKEND, second], WANTED) == Plan(BACKEND, (), (second,))
    assert plan_backend([other], WANTED) == Plan(None)


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (WEBHOOK, ()),
        (replace(WEBHOOK, headers={**WEBHOOK.headers, "X-Proxy": "1"}), ()),
        (replace(WEBHOOK, is_active=False), ("it was inactive",)),
        (replace(WEBHOOK, send_payload=False), ("it sent no payload",)),
        (replace(WEBHOOK, send_for_all_actions=True), ("it was for other actions",)),
        (replace(WEBHOOK, actions=frozenset(ACTIONS[1:])), ("it was for other actions",)),
        (replace(WEBHOOK, headers={"X-Prelabel-Secret": "old"}), ("its secret header was missing or another",)),
    ],
)
def test_what_is_wrong_with_a_webhook_is_named(found: Webhook, wrong: tuple[str, ...]) -> None:
    assert plan_webhook([found], WANTED) == Plan(found, wrong)


def test_connecting_a_new_project_sets_all_and_doing_so_again_writes_nothing() -> None:
    studio = FakeStudio()

    first = studio.connect()
    studio.writes.clear()
    again = studio.connect()

    assert first.changes == (
        f"ML backend 1 added: {URL}",
        "webhook 1 put right: it was for other actions, its secret header was missing or another",
    )
    assert again == Connection(1, 1, (), ())
    assert (studio.writes, studio.version) == ([], "v2")
    assert (studio.ml_backends(7), studio.webhooks(7)) == ([BACKEND], [WEBHOOK])


def test_duplicates_go_and_the_version_they_take_with_them_comes_back() -> None:
    backends = [BACKEND, replace(BACKEND, id=2)]
    studio = FakeStudio(backends, [WEBHOOK, replace(WEBHOOK, id=2)], version="v2")

    connection = studio.connect()

    assert connection.changes == (
        "ML backend 2 removed: it stood there twice",
        "project's version set to 'v2': it was ''",
        "webhook 2 removed: it stood there twice",
    )
    assert (studio.ml_backends(7), studio.webhooks(7), studio.version) == ([BACKEND], [WEBHOOK], "v2")


def test_a_refused_webhook_leaves_one_ml_backend_which_is_completed_once_it_is_allowed() -> None:
    studio = FakeStudio()
    studio.guards_webhooks = True

    for _ in range(2):
        with pytest.raises(StudioError, match="corrections do not arrive: reserved network address"):
            studio.connect()
    studio.version = ""  # as Label Studio leaves it
    studio.guards_webhooks = False
    connection = studio.connect()

    assert connection.changes == ("project's version set to 'v2': it was ''", f"webhook 1 added: {URL}/webhook")
    assert (studio.ml_backends(7), studio.webhooks(7)) == ([BACKEND], [WEBHOOK])


def test_an_ml_backend_that_is_refused_is_an_error() -> None:
    class Refusing(FakeStudio):
        def add_ml_backend(self, project_id: int, *, url: str, title: str, auth: BasicAuth | None) -> MLBackend:
            raise StudioError("health check failed")

    with pytest.raises(StudioError, match="health check failed"):
        Refusing().connect()


@pytest.mark.parametrize(
    ("stands_there", "known"),
    [
        ("http://backend:9090/", "http://backend:9090"),
        ("https://tools.example.com/prelabel", "https://tools.example.com/prelabel"),
        ("http://backend:9090/prelabel", "http://backend:9090/prelabel"),
        ("http://another:9090", "https://tools.example.com/prelabel"),
    ],
)
def test_of_several_addresses_the_one_that_the_project_knows_counts(stands_there: str, known: str) -> None:
    studio = FakeStudio([replace(BACKEND, url=stands_there)])

    ours = ["https://tools.example.com/prelabel", "http://backend:9090/prelabel", "http://backend:9090"]
    assert known_address(studio, 7, ours) == known


def test_adopting_adds_no_ml_backend_but_completes_the_one_that_is_there() -> None:
    nothing_there, half_there = FakeStudio(), FakeStudio([BACKEND], version="v2")

    with pytest.raises(StudioError, match="prelabel connect --project 7"):
        nothing_there.connect(adopt_only=True)
    connection = half_there.connect(adopt_only=True)

    assert nothing_there.writes == []
    assert connection.changes == (f"webhook 1 added: {URL}/webhook",)


def test_headers_that_others_gave_the_webhook_stay() -> None:
    studio = FakeStudio([BACKEND], [replace(WEBHOOK, headers={"X-Proxy": "1"})], version="v2")

    studio.connect()

    assert studio.hooks[1].headers == {"X-Proxy": "1", "X-Prelabel-Secret": "hush"}


def test_without_a_password_there_is_neither_auth_nor_secret() -> None:
    studio = FakeStudio()

    studio.connect(settings=Settings.from_env({}))

    assert (studio.backends[1].auth_user, studio.hooks[1].headers) == ("", {})


def test_what_keeps_predictions_from_people_is_a_warning() -> None:
    studio = FakeStudio([replace(BACKEND, id=5, url="http://other", title="other"), BACKEND], [WEBHOOK], version="v2")
    studio.sees_predictions = False

    unseen, unasked = studio.connect().warnings

    assert "'Use predictions to prelabel tasks'" in unseen
    assert "'other' at http://other" in unasked


def test_title_and_version_move_together_and_webhooks_are_left_alone() -> None:
    studio = FakeStudio([replace(BACKEND, title="v1")], version="elsewhere")

    first = sync_title(studio, 7, backend_url=URL, title="v2", settings=SETTINGS)
    again = sync_title(studio, 7, backend_url=URL, title="v2", settings=SETTINGS)

    assert first == ("ML backend 1 put right: its title was 'v1'", "project's version set to 'v2': it was 'elsewhere'")
    assert again == ()
    assert studio.writes == ["update_ml_backend", "set_project_version"]


def test_a_title_cannot_move_without_its_ml_backend() -> None:
    with pytest.raises(StudioError, match=f"project 7 has no ML backend {URL}"):
        sync_title(FakeStudio(), 7, backend_url=URL, title="v2", settings=SETTINGS)


@pytest.mark.parametrize(
    ("status", "detail", "cure"),
    [
        (
            401,
            "legacy token authentication has been disabled for this organization",
            "is disabled in this Label Studio",
        ),
        (401, "Token has wrong type", "lives five minutes"),
        (401, "Token is blacklisted", "create a personal access token"),
        (401, "Invalid token header. Token string should not contain spaces.", "without 'Token' or 'Bearer'"),
        (401, "Authentication credentials were not provided.", "personal access tokens are switched off"),
        (403, "URL resolves to a reserved network address (block: 10.0.0.0/8)", "USE_DEFAULT_BANNED_SUBNETS=false"),
        (403, "The provided URL was not allowed. URLs must", "http:// or https:// address"),
        (403, "You do not have permission", "may not do that"),
        (404, "No Project matches the given query.", "it was deleted"),
        (500, "Can't resolve hostname backend", "known where Label Studio runs"),
        (500, "division by zero", "its log says why"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, detail: str, cure: str) -> None:
    said, told = explain(status, {"detail": detail}, {})

    assert said == f"({status}: {detail})"
    assert cure in told


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ApiError(status_code=404, body={"detail": "No such row"}), r"refused to connect \(404: No such row\): it was"),
        (httpx.LocalProtocolError("Illegal header value b'Token secret'"), "^LABEL_STUDIO_API_KEY has characters"),
        (UnicodeEncodeError("ascii", "Token secret", 0, 1, ""), "^LABEL_STUDIO_API_KEY has characters"),
        (httpx.ReadTimeout(""), "did not connect in time"),
        (
            httpx.ConnectError("Connection refused"),
            r"cannot be reached at 'http://ls' \(Connection refused\): start it",
        ),
        (httpx.InvalidURL("Invalid port"), "cannot be reached"),
        (ParsingError(), "is not Label Studio's API"),
        (json.JSONDecodeError("", "", 0), "is not Label Studio's API"),
        (UnicodeDecodeError("utf-8", b"", 0, 0, ""), "is not Label Studio's API"),
    ],
)
def test_whatever_fails_leaves_as_one_error_without_the_token(raised: Exception, told: str) -> None:
    with pytest.raises(StudioError, match=told) as caught, translated("http://ls", "connect"):
        raise raised

    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_complaint_about_fields_loses_its_markup_and_keeps_its_words() -> None:
    body = {"detail": "Validation error", "validation_errors": {"url": ['see <a href="x">here</a>.\nBad'], "n": "odd"}}

    assert explain(400, body, {}) == ("(400: see here. Bad odd)", "")


def test_what_is_not_label_studio_is_told_so() -> None:
    assert "is not Label Studio's API" in explain(404, "<html>", {})[1]
    assert "proxy in front" in explain(502, "<html>", {})[1]
    assert explain(301, "", {"location": "https://ls/api"})[1] == "set LABEL_STUDIO_URL as in 'https://ls/api'"


def test_a_password_is_not_shown() -> None:
    assert "pass" not in repr(WANTED.auth).removeprefix("BasicAuth(user=")

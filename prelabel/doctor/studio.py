"""Label Studio itself: its address, the token, its release.

The address is asked without a token for what Label Studio answers with a 401 in JSON that names its release: nothing
else does, and neither does Label Studio under the path of one of its pages (seen on 1.23.2).
"""

import re
from collections.abc import Generator

from prelabel.address import Answer, Trouble, look, without_login
from prelabel.bootstrap import Services
from prelabel.doctor.cures import Place, unreachable
from prelabel.doctor.findings import Checking, Finding, are, failed, ok, warning
from prelabel.errors import StudioError
from prelabel.studio.client import StudioClient
from prelabel.studio.refusals import BEHIND_A_PROXY, CREATE_ONE, NOT_LABEL_STUDIO
from prelabel.studio.tokens import kind_of

CHECK, TOKEN = "label studio", "token"
WHOAMI = "/api/current-user/whoami"
ANSWER_S = 8.0
OLDEST = (1, 23)
"""What prelabel is tested with."""


def check_studio(work: Services, *, in_container: bool) -> Generator[Finding, None, StudioClient | str]:
    """:returns: a client that gets answers, or why there is none."""
    settings = work.settings
    if not settings.label_studio_url or settings.label_studio_api_key is None:
        names = {"LABEL_STUDIO_URL": settings.label_studio_url, "LABEL_STUDIO_API_KEY": settings.label_studio_api_key}
        missing = [name for name, value in names.items() if not value]
        why_not = f"{are(missing)} not set"
        yield failed(
            CHECK,
            f"{why_not}: projects cannot be connected, runs not made",
            f"set {' and '.join(missing)}; for a key {CREATE_ONE}",
        )
        return why_not
    if why_not := (yield from _check_address(settings.label_studio_url, in_container=in_container)):
        return why_not
    client = work.studio(ANSWER_S)
    if why_not := (yield from _check_token(client, settings.label_studio_api_key.get_secret_value())):
        return why_not
    return client


def _check_address(url: str, *, in_container: bool) -> Checking:
    base = url.rstrip("/")
    found = look(base + WHOAMI)
    if isinstance(found, Trouble):
        start = "docker compose up -d label-studio"
        place = Place("Label Studio", "LABEL_STUDIO_URL", base, start, "label-studio")
        yield failed(CHECK, *unreachable(place, found, in_container=in_container))
        return "Label Studio cannot be reached"
    version = str(found.data.get("version", ""))
    if found.status != 401 or not version:
        yield failed(CHECK, *_something_else(without_login(base), found))
        return "what answers is not Label Studio"
    told = f"Label Studio {version} at {without_login(base)}"
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < OLDEST:
        yield warning(CHECK, told, f"use {'.'.join(map(str, OLDEST))} or later, which prelabel is made for")
    else:
        yield ok(CHECK, told)
    return ""


def _something_else(url: str, found: Answer) -> tuple[str, str]:
    if found.location:
        return f"{url} sends elsewhere", f"set LABEL_STUDIO_URL={found.location.removesuffix(WHOAMI)}"
    if found.status in {502, 503, 504}:
        return f"{url} answers {found.status}", BEHIND_A_PROXY
    told, _, cure = NOT_LABEL_STUDIO.partition(": ")
    return f"{told} ({found.status} from {url})", cure


def _check_token(client: StudioClient, key: str) -> Checking:
    kind = kind_of(key)
    if kind == "access token":  # it would do for what is left of its five minutes, but never through the SDK
        yield failed(TOKEN, "LABEL_STUDIO_API_KEY is an access token, which lives five minutes", CREATE_ONE)
        return "the token is of the wrong kind"
    try:
        user = client.whoami()
    except StudioError as error:
        yield failed(TOKEN, error.message, error.cure)
        return "Label Studio refuses the token"
    yield ok(TOKEN, f"{kind} of user {user}")
    return ""

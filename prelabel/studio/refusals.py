"""Label Studio's refusals and the network's failures, turned into one ``StudioError`` that says what to do.

The patterns are texts of Label Studio 1.23.2: ``jwt_auth/auth.py``, ``core/utils/exceptions.py``, ``core/utils/io.py``
and ``ml/serializers.py``. A refusal without a known cure keeps Label Studio's own words.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from prelabel.errors import StudioAway, StudioError

NOT_LABEL_STUDIO = (
    "what answers there is not Label Studio's API: set LABEL_STUDIO_URL to the address that its pages have in the "
    "browser, up to where /projects begins"
)
BEHIND_A_PROXY = "the proxy in front of Label Studio does not reach it: start it, or wait until it has started"
AWAY = frozenset({502, 503, 504})
CREATE_ONE = (
    "create a personal access token in Label Studio (Account & Settings > Personal Access Token) "
    "and set LABEL_STUDIO_API_KEY to it"
)
CURES = (
    (401, "legacy token", f"legacy token authentication is disabled in this Label Studio: {CREATE_ONE}"),
    (401, "wrong type", f"this is an access token, which lives five minutes and is no API key: {CREATE_ONE}"),
    (401, "contain spaces", "set LABEL_STUDIO_API_KEY to the token alone, without 'Token' or 'Bearer' before it"),
    (
        401,
        "were not provided",
        "personal access tokens are switched off (switch them on at Organization > API Tokens Settings), "
        "or a proxy in front of Label Studio drops the header Authorization",
    ),
    (401, "", f"the token is unknown, expired or revoked: {CREATE_ONE}"),
    (
        403,
        "reserved network",
        "Label Studio takes addresses of private networks for an attack: start it with ML_BLOCK_LOCAL_IP=false and "
        "SSRF_PROTECTION_ENABLED=false, or with USE_DEFAULT_BANNED_SUBNETS=false",
    ),
    (403, "URL was not allowed", "name the backend by an http:// or https:// address"),
    (403, "", "the token's user may not do that: use a user who may change the project's settings"),
    (404, "", "it was deleted, or belongs to another organization than the token's user"),
    (400, "health check failed", "start the backend, and name it by an address that Label Studio itself can reach"),
    (400, "Reason: 401", "the backend was started with another BASIC_AUTH_USER or BASIC_AUTH_PASS"),
    (500, "resolve hostname", "name the backend by an address that is known where Label Studio runs"),
    (500, "", "its log says why"),
)
"""Status, pattern in the refusal's text, what to do about it; the first that fits counts."""


@contextmanager
def translated(url: str, purpose: str) -> Iterator[None]:
    """Whatever the SDK raises within leaves as ``StudioError``.

    :param url: Label Studio's address, for the text.
    :param purpose: what was asked, as in "refused to ...".
    """
    import httpx  # late, like the SDK itself: see ``client``
    from label_studio_sdk.core.api_error import ApiError
    from label_studio_sdk.core.parse_error import ParsingError

    try:
        yield
    except ApiError as error:
        said, cure = explain(error.status_code, error.body, error.headers or {})
        told = f"Label Studio at {url} refused to {purpose} {said}"
        kind = StudioAway if error.status_code in AWAY else StudioError
        raise kind(told, cure, error.status_code) from error
    except (UnicodeEncodeError, httpx.LocalProtocolError):  # unchained, since their texts quote the token
        raise StudioError("LABEL_STUDIO_API_KEY has characters that no token has", "copy it again") from None
    except httpx.TimeoutException as error:
        raise StudioAway(
            f"Label Studio at {url} did not {purpose} in time",
            "it is overloaded, or something between here and there holds the request back",
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        kind = StudioAway if isinstance(error, httpx.HTTPError) else StudioError
        raise kind(
            f"Label Studio cannot be reached at {url!r} ({error})",
            "start it, or set LABEL_STUDIO_URL to an address that this machine can reach",
        ) from error
    except (ParsingError, ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StudioError(f"Label Studio at {url} did not {purpose}", NOT_LABEL_STUDIO) from error


def explain(status: int | None, body: object, headers: Mapping[str, str]) -> tuple[str, str]:
    """What Label Studio said, ``(403: URL resolves to a reserved network address)``, and what to do, if it is known."""
    if location := headers.get("location"):
        return "and sends elsewhere", f"set LABEL_STUDIO_URL as in {location!r}"
    if not isinstance(body, dict):
        return f"({status})", BEHIND_A_PROXY if status in AWAY else NOT_LABEL_STUDIO
    said = _said(body)
    cure = next((cure for known, pattern, cure in CURES if known == status and re.search(pattern, said)), "")
    return f"({status}: {said})", cure


def _said(body: Mapping[str, Any]) -> str:
    """What the body of a refusal says, in one line without markup: each field's complaints, else the general one."""
    complaints = body.get("validation_errors")
    texts = complaints.values() if isinstance(complaints, dict) else [body.get("detail", body)]
    line = " ".join(str(text) for given in texts for text in (given if isinstance(given, list) else [given]))
    return " ".join(re.sub(r"<[^<>]*>", "", line).split())

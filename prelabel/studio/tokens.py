"""What kind of key a key of Label Studio is, read from itself: no server is asked, no signature checked."""

import base64
import json
from typing import Literal

Kind = Literal["legacy token", "personal access token", "access token"]
"""A personal access token is a JWT of the type ``refresh``; an access token is what it is exchanged for, for 5 min."""


def kind_of(key: str) -> Kind:
    """A legacy token is 40 hexadecimal digits, and whatever is no JWT is tried as one."""
    parts = key.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "==")) if len(parts) == 3 else {}
    except ValueError:
        return "legacy token"
    kind = claims.get("token_type") if isinstance(claims, dict) else None
    return "access token" if kind == "access" else "personal access token" if kind else "legacy token"

"""Who may call: HTTP basic auth, and for webhooks a secret header, since Label Studio sends no password with events."""

import hmac
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from flask import request
from flask.typing import ResponseReturnValue

from prelabel.config import Settings
from prelabel.studio.wiring import SECRET_HEADER
from prelabel.web.replies import error_reply

P = ParamSpec("P")


class Auth:
    """Checks callers against the settings; everybody may call where no password is set."""

    def __init__(self, settings: Settings) -> None:
        self._required = settings.has_auth
        self._user = settings.basic_auth_user
        self._password = settings.basic_auth_pass.get_secret_value()
        self._secret = settings.effective_webhook_secret

    def required(self, view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        """A view that answers 401 to callers without the password."""
        return self._guard(view, self._has_password)

    def required_or_secret(self, view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        """A view for which the webhook's secret will do as well."""
        return self._guard(view, lambda: self._has_password() or self._has_secret())

    def _guard(
        self, view: Callable[P, ResponseReturnValue], is_allowed: Callable[[], bool]
    ) -> Callable[P, ResponseReturnValue]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if not self._required or is_allowed():
                return view(*args, **kwargs)
            reply, status = error_reply("unauthorized", "user and password of BASIC_AUTH_USER/_PASS are required", 401)
            reply.headers["WWW-Authenticate"] = 'Basic realm="prelabel"'
            return reply, status

        return guarded

    def _has_password(self) -> bool:
        given = request.authorization
        if given is None or given.type != "basic":
            return False
        same_user = _same(given.username or "", self._user)
        return _same(given.password or "", self._password) and same_user

    def _has_secret(self) -> bool:
        return bool(self._secret) and _same(request.headers.get(SECRET_HEADER, ""), self._secret)


def _same(given: str, expected: str) -> bool:
    """Compared in constant time, so that answers' times tell nothing of the secret."""
    return hmac.compare_digest(given.encode(), expected.encode())

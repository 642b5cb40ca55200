"""The running backend, as Label Studio would call it: there, ours, and with the same settings as this command."""

from collections.abc import Generator

from prelabel.address import Answer, look
from prelabel.bootstrap import Services
from prelabel.doctor.cures import Place, unreachable
from prelabel.doctor.findings import Checking, Finding, failed, ok, warning
from prelabel.running import RunningBackend, auth_of, is_prelabel, local_address

CHECK = "backend"
START = "start it with the same settings: python -m prelabel serve"
READY_S = 5.0


def check_backend(
    work: Services, *, in_container: bool, others_are_well: bool
) -> Generator[Finding, None, RunningBackend | str]:
    """:param others_are_well: Redis and Label Studio answer here, so that they should answer the backend, too.

    :returns: the backend, or why what hangs on it is to be skipped.
    """
    settings = work.settings
    url, local = settings.address, local_address(settings)
    found = look(f"{url}/health")
    if not isinstance(found, Answer) and settings.prelabel_url and isinstance(look(f"{local}/health"), Answer):
        told = f"{url} cannot be reached from here, though the backend answers at {local}"
        cure = (
            "nothing, if Label Studio reaches it there, which its ML backend rows below tell; else correct PRELABEL_URL"
        )
        yield warning(CHECK, told, cure)
        url, found = local, look(f"{local}/health")
    if not isinstance(found, Answer):
        variable = "PRELABEL_URL" if settings.prelabel_url else "PORT"
        place = Place("prelabel", variable, url, "python -m prelabel serve", "backend")
        yield failed(CHECK, *unreachable(place, found, in_container=in_container and bool(settings.prelabel_url)))
        return "the backend does not answer"
    if not is_prelabel(found):
        cure = "stop it, or set PORT and PRELABEL_URL to where prelabel is"
        yield failed(CHECK, f"what answers at {url} is not prelabel ({found.status})", cure)
        return "what answers is not prelabel"
    why_not = yield from _check_settings(work, url, others_are_well=others_are_well)
    return why_not or RunningBackend(url, settings)


def _check_settings(work: Services, url: str, *, others_are_well: bool) -> Checking:
    auth = auth_of(work.settings)
    found = look(f"{url}/versions", auth=auth, timeout_s=READY_S)
    if isinstance(found, Answer) and found.status == 401:
        told = f"the backend at {url} wants another BASIC_AUTH_USER or BASIC_AUTH_PASS than is set here"
        yield failed(CHECK, told, "stop it and " + START)
        return "the backend has another password"
    if others_are_well:
        ready = look(f"{url}/ready", auth=auth, timeout_s=READY_S)
        if isinstance(ready, Answer) and (failing := ready.data.get("failing")):
            told = "; ".join(f"{name}: {why}" for name, why in failing.items())
            yield failed(
                CHECK, f"the backend at {url} fails where this command does not: {told}", "stop it and " + START
            )
            return "the backend has other settings"
    yield ok(CHECK, f"up at {url}, with the password that is set here" if auth else f"up at {url}, without a password")
    return ""

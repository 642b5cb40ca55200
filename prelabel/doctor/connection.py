"""How a project stands in Label Studio: ML backend, version, webhook, against what ``connect`` would leave.

What is wrong with a row is found by ``studio.wiring``, the same that ``connect`` puts right; here it gets its cure. The
state of a row is judged apart, since connecting again does not make an address reachable.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from prelabel.address import is_loopback
from prelabel.config import Settings
from prelabel.doctor.cures import CONNECT
from prelabel.doctor.findings import Finding, failed, ok, skipped, warning
from prelabel.project import Project
from prelabel.studio import wiring
from prelabel.studio.client import StudioClient
from prelabel.studio.rows import MLBackend, StudioProject
from prelabel.studio.wiring import UNUSABLE, Plan, Wanted, same_url

SSRF = "start Label Studio with SSRF_PROTECTION_ENABLED=false, or with USE_DEFAULT_BANNED_SUBNETS=false"


@dataclass(frozen=True, slots=True)
class Case:
    """A project on both sides, and what bears on how it is connected."""

    found: StudioProject
    project: Project
    version: str
    """The model version that is meant: the backend's own, where it tells."""
    settings: Settings
    in_container: bool
    no_backend: str
    """Why the backend does not answer; empty if it does."""

    @property
    def wanted(self) -> Wanted:
        """How it should stand there, by the address that it was connected by."""
        url = self.project.state.backend_url or self.settings.address
        return Wanted.by_settings(url, self.version, self.settings)

    @property
    def connect_here(self) -> str:
        return CONNECT.format(self.found.id)

    @property
    def connect(self) -> str:
        """The command that keeps the address."""
        url = self.wanted.url
        return self.connect_here + ("" if same_url(url, self.settings.address) else f" --url {url}")

    def check(self, piece: str) -> str:
        return f"project {self.found.id} {piece}"


def check_connection(case: Case, client: StudioClient) -> Iterator[Finding]:
    """:raises StudioError: Label Studio does not show the project's rows."""
    wanted, check = case.wanted, case.check("ml backend")
    if case.settings.prelabel_url and not same_url(wanted.url, case.settings.address):
        told = f"it is connected as {wanted.url}, which is not PRELABEL_URL={case.settings.address}"
        cure = f"{case.connect_here}, then remove {wanted.url} in the project's Settings > Model"
        yield warning(check, told, cure)
    backends = client.ml_backends(case.found.id)
    plan = wiring.plan_backend([replace(row, state="") for row in backends], wanted)
    row = next((row for row in backends if plan.keep and row.id == plan.keep.id), None)
    if row is None:
        others = f", only {', '.join(row.url for row in backends)}" if backends else ""
        yield failed(check, f"Label Studio has no ML backend {wanted.url} for it{others}", case.connect)
        return
    yield from _check_row(case, check, row, plan)
    yield _check_version(case)
    yield _check_webhook(case, client)
    for told, _, cure in (text.rpartition(": ") for text in wiring.warnings(case.found, backends, row)):
        yield warning(f"project {case.found.id}", told, cure)


def _check_row(case: Case, check: str, row: MLBackend, plan: Plan[MLBackend]) -> Iterator[Finding]:
    if plan.surplus:
        yield warning(check, f"{row.url} stands there {1 + len(plan.surplus)} times", case.connect)
    if plan.wrong:
        yield failed(check, ", ".join(plan.wrong), case.connect)
    if row.state in UNUSABLE:
        yield _unusable(case, check, row)
    elif not plan.wrong:
        yield ok(check, f"{row.url}, connected and interactive")


def _unusable(case: Case, check: str, row: MLBackend) -> Finding:
    if case.no_backend:
        return skipped(check, case.no_backend)
    if row.state == "ER" and "401" in row.error_message:
        return failed(check, f"Label Studio sends another password to {row.url} than is set here", case.connect)
    if row.state == "ER":
        return failed(check, f"{row.url}/setup fails for Label Studio: {row.error_message}", "see the backend's log")
    return failed(check, f"Label Studio does not reach {row.url}", _how_to_reach(case, row.url))


def _how_to_reach(case: Case, url: str) -> str:
    """An address of its own loopback is the usual mistake, the guard against private addresses the next."""
    if is_loopback(url) and (case.in_container or not is_loopback(case.settings.label_studio_url)):
        return f"set PRELABEL_URL to where Label Studio reaches it (its localhost is its own), then {case.connect_here}"
    return f"open {url}/health from where Label Studio runs; if it answers there, {SSRF} and ML_BLOCK_LOCAL_IP=false"


def _check_version(case: Case) -> Finding:
    shown, ours = case.found.model_version, case.version
    if shown == ours:
        return ok(case.check("version"), ours)
    return failed(
        case.check("version"), f"the project shows scores of {shown!r}, predictions are of {ours!r}", case.connect
    )


def _check_webhook(case: Case, client: StudioClient) -> Finding:
    wanted, check = case.wanted, case.check("webhook")
    plan = wiring.plan_webhook(client.webhooks(case.found.id), wanted)
    if plan.keep is None:
        told = "the ML backend was saved without its webhook, as Label Studio's SSRF guard does: no review arrives"
        return failed(check, told, f"{SSRF}; then {case.connect}")
    if plan.wrong:
        return failed(check, ", ".join(plan.wrong), case.connect)
    if plan.surplus:
        return warning(check, f"{plan.keep.url} stands there {1 + len(plan.surplus)} times", case.connect)
    return ok(check, f"{plan.keep.url}, active{', with its secret' if wanted.headers else ''}")

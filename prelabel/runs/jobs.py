"""What workers do, by name: the functions that jobs in the queue stand for.

Each says first that it has begun, so that whatever happens from then on queues another one. A failure is raised: RQ
tries the job again after a pause, then keeps it among the failed.
"""

import logging

from prelabel.bootstrap import Services, services
from prelabel.errors import PrelabelError
from prelabel.quality.calibrator import MIN_EVIDENCE
from prelabel.runs.bulk import execute
from prelabel.store.keys import ProjectRef
from prelabel.studio import connect
from prelabel.studio.client import StudioClient

log = logging.getLogger(__name__)


def rebuild(project: str) -> None:
    """START_TRAINING: read all reviews again, and begin a new generation with the evidence and the title it takes.

    Label Studio is given the title last, and asks for predictions of that version then.
    """
    work, ref = _begin("rebuild", project)
    studio = work.studio()
    label_config = studio.project(ref.id).label_config
    work.learning.rebuild(ref, label_config, studio)
    try:
        _freeze(work, ref, label_config, studio)
    except PrelabelError as error:  # tried again, this would begin one more generation; a run fits it, too
        log.warning("project %s: scores are not calibrated yet: %s", ref.id, error)
    work.jobs.put("sync_title", ref)


def _freeze(work: Services, ref: ProjectRef, label_config: str, studio: StudioClient) -> None:
    """What scores are made by, unless an LLM has to be heard in this generation first: only a run asks it."""
    opened = work.service.open(ref, label_config)
    if work.evidence.count(opened) < MIN_EVIDENCE or work.evidence.unheard(opened):
        return
    scoring = work.evidence.fit(opened, studio)
    if scoring.evidence >= MIN_EVIDENCE:
        work.evidence.freeze(opened, scoring, anew=False)  # a run may have been faster, and predicted by what it froze


def sync_title(project: str) -> None:
    """Give ML backend and project in Label Studio the version that predictions carry."""
    work, ref = _begin("sync_title", project)
    state = work.projects.state(ref)
    if not state.backend_url:
        return
    studio = work.studio()
    version = work.service.open(ref, studio.project(ref.id).label_config).version
    connect.sync_title(studio, ref.id, backend_url=state.backend_url, title=version, settings=work.settings)
    work.projects.set_connected(ref, title=version, backend_url=state.backend_url, own_user=studio.whoami())


def adopt(project: str, *backend_urls: str) -> None:
    """Put right how a project is connected that was added in Label Studio by hand, at one of these addresses."""
    work, ref = _begin("adopt", project)
    connect_project(work, ref, *backend_urls, adopt_only=True)


def bulk(_project: str, run_id: str) -> None:
    """A worker's turn at a bulk run."""
    execute(services(is_worker=True), run_id)


def connect_project(
    work: Services, ref: ProjectRef, *backend_urls: str, adopt_only: bool = False
) -> connect.Connection:
    """Make Label Studio's side of a connection right and remember it.

    :param backend_urls: our address; of several, the first that the project has an ML backend at counts.
    :raises StudioError: Label Studio refused; the text says what to do.
    :raises LabelConfigError: the project's label config cannot be answered.
    """
    studio = work.studio()
    version = work.service.open(ref, studio.project(ref.id).label_config).version
    work.projects.claim_job(ref, "adopt")  # Label Studio calls us meanwhile, which is not to start another
    try:
        backend_url = connect.known_address(studio, ref.id, backend_urls)
        connection = connect.connect(
            studio, ref.id, backend_url=backend_url, title=version, settings=work.settings, adopt_only=adopt_only
        )
        work.projects.set_connected(ref, title=version, backend_url=backend_url, own_user=studio.whoami())
    finally:
        work.projects.release_job(ref, "adopt")
    return connection


def _begin(job: str, project: str) -> tuple[Services, ProjectRef]:
    work, ref = services(is_worker=True), ProjectRef.parse(project)
    work.projects.release_job(ref, job)
    return work, ref

"""Project 7 of a fake Label Studio, and the settings of those who work for it."""

from typing import Any

from prelabel.store.keys import ProjectRef
from tests.fakes.llm_server import FakeLLM
from tests.fakes.studio_server import FakeLabelStudio
from tests.integration.conftest import TICKETS

CREATED = "2026-11-21T04:38:40.123456Z"
REF = ProjectRef(7, 1795235920)


def project_seven(version: str = "") -> dict[str, Any]:
    """As Label Studio has it.

    :param version: its model version.
    """
    return {
        "id": REF.id,
        "title": "Tickets",
        "created_at": CREATED,
        "label_config": TICKETS,
        "model_version": version,
        "show_collab_predictions": True,
    }


def environment(studio: FakeLabelStudio, llm: FakeLLM, redis_url: str, **settings: str) -> dict[str, str]:
    """What names a test's servers, and ``settings`` besides."""
    return {
        "OPENAI_API_KEY": llm.api_key,
        "OPENAI_BASE_URL": llm.url,
        "REDIS_URL": redis_url,
        "LABEL_STUDIO_URL": studio.url,
        "LABEL_STUDIO_API_KEY": studio.legacy_token,
        **settings,
    }

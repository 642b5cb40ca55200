"""``model.py`` under either base class: what the servers that call it rely on."""

import importlib.util
import sys
from functools import partial
from typing import Any

import pytest

from tests.fakes.ml_base_2 import LabelStudioMLBase, Server, as_module
from tests.integration.conftest import PROJECT, TICKETS, Backend, annotation, labels_of, task
from tests.servers import REPOSITORY

PROJECT_DATA = {"id": 7, "created_at": "2026-11-21T04:38:40.5Z", "label_config": TICKETS}


@pytest.fixture
def server(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> Server:
    """``model.py``, unchanged, loaded where only 2.x's base class is to be had."""
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", as_module())
    spec = importlib.util.spec_from_file_location("model_on_2", REPOSITORY / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    LabelStudioMLBase.cache.clear()
    return Server(partial(module.PrelabelModel, work=backend.work))


def body(*tasks: Any, context: Any = None, **more: Any) -> dict[str, Any]:
    params = {"login": None, "password": None, "context": context}
    return {"tasks": list(tasks), "project": PROJECT, "label_config": TICKETS, "params": params, **more}


def test_under_2x_predictions_carry_the_version_that_setup_names(server: Server) -> None:
    version = server.setup({"project": PROJECT, "schema": TICKETS})

    items = server.predict(body(task(1, "refund"), task(2, "shipping")))

    assert [labels_of(item) for item in items] == [{"intent": ["refund"]}, {"intent": ["shipping"]}]
    assert {item["model_version"] for item in items} == {version}


def test_under_2x_a_typed_prompt_is_answered(server: Server) -> None:
    region = {"from_name": "prompt", "to_name": "text", "type": "textarea", "value": {"text": ["ALWAYS other"]}}

    (item,) = server.predict(body(task(1, "refund"), context={"result": [region]}))

    assert labels_of(item) == {"intent": ["other"]}


def test_under_2x_an_empty_context_asks_nothing(server: Server) -> None:
    assert server.predict(body(task(1, "refund"), context={"result": []})) == [{"result": []}]


def test_under_2x_a_request_without_project_or_params_is_a_batch(server: Server) -> None:
    (item,) = server.predict({"tasks": [task(1, "refund")], "label_config": TICKETS})

    assert labels_of(item) == {"intent": ["refund"]}


def test_under_2x_a_correction_is_learnt_though_predict_names_no_creation_time(
    server: Server, backend: Backend
) -> None:
    event = {"action": "ANNOTATION_CREATED", "project": PROJECT_DATA, "task": task(1, "refund")}
    server.webhook({**event, "annotation": annotation(1, "other")})

    (item,) = server.predict(body(task(2, "refund")))

    assert labels_of(item) == {"intent": ["other"]}


def test_under_2x_nothing_is_kept_in_the_base_classs_cache(server: Server) -> None:
    server.setup({"project": PROJECT, "schema": TICKETS})
    server.predict(body(task(1, "refund")))

    assert LabelStudioMLBase.cache == {}


def test_under_1x_fit_takes_what_its_job_manager_passes(backend: Backend) -> None:
    from model import PrelabelModel

    data = {"project": PROJECT_DATA, "annotation": annotation(1, "other"), "task": task(1, "refund")}

    status = PrelabelModel(PROJECT, TICKETS, backend.work).fit((), event="ANNOTATION_CREATED", data=data, job_id="1")

    assert status == {"status": "learnt"}

"""The application as gunicorn would serve it, with a real Redis and the real OpenAI client behind it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from model import PrelabelModel
from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.web.app import create_app
from tests.fakes.llm_server import FakeLLM
from tests.integration.llm_asking import Ask, asking_of

PROJECT = "7.1795235920"
TICKETS = """
<View>
  <Text name="text" value="$text"/>
  <TextArea name="prompt" toName="text" editable="true" rows="2" maxSubmissions="1" showSubmitButton="false"/>
  <TextArea name="response" toName="text" smart="false" editable="true"/>
  <Choices name="intent" toName="text">
    <Choice value="refund" hint="wants money back"/><Choice value="shipping"/><Choice value="other"/>
  </Choices>
</View>
"""
DIALOGUES = """
<View>
  <Paragraphs name="chat" value="$dialogue" layout="dialogue"/>
  <TextArea name="prompt" toName="chat" rows="4" editable="true" maxSubmissions="1" showSubmitButton="false"/>
  <Choices name="response" toName="chat" editable="true" maxSubmissions="1" choice="multiple">
    <Choice value="billing"/><Choice value="delivery"/><Choice value="praise"/>
  </Choices>
</View>
"""


@dataclass(frozen=True, slots=True)
class Backend:
    """What Label Studio sees of prelabel: a URL to send JSON to."""

    work: Services
    http: FlaskClient

    def setup(self, config: str = TICKETS, project: str = PROJECT) -> str:
        reply = self.http.post("/setup", json={"project": project, "schema": config, "extra_params": None})
        assert reply.status_code == 200, reply.text
        return str(json_of(reply)["model_version"])

    def predict(self, *tasks: Any, config: str = TICKETS, project: str = PROJECT) -> list[dict[str, Any]]:
        """What "Retrieve predictions" does."""
        return self._predict(tasks, config, project, None)

    def prompted(self, prompt: str, task: Any, config: str = TICKETS, to_name: str = "text") -> dict[str, Any]:
        """What Shift+Enter in the prompt field does."""
        region = {"from_name": "prompt", "to_name": to_name, "type": "textarea", "value": {"text": [prompt]}}
        (item,) = self._predict([task], config, PROJECT, {"result": [region]})
        return item

    def event(self, action: str, **data: Any) -> int:
        """What a webhook does; returns the status it is answered with."""
        project = {"id": 7, "created_at": "2026-11-21T04:38:40.123456Z", "label_config": TICKETS}
        return self.http.post("/webhook", json={"action": action, "project": project, **data}).status_code

    def _predict(self, tasks: Any, config: str, project: str, context: Any) -> list[dict[str, Any]]:
        params = {"login": None, "password": None, "context": context}
        body = {"tasks": list(tasks), "project": project, "label_config": config, "params": params}
        reply = self.http.post("/predict", json=body)
        assert reply.status_code == 200, reply.text
        items: list[dict[str, Any]] = json_of(reply)["results"]
        return items


Start = Callable[..., Backend]


@pytest.fixture
def start(redis_url: str, llm: FakeLLM) -> Iterator[Start]:
    """Start a backend with settings besides those that name the test's servers."""
    started: list[Services] = []

    def start(**settings: str) -> Backend:
        env = {"OPENAI_API_KEY": llm.api_key, "OPENAI_BASE_URL": llm.url, "REDIS_URL": redis_url, **settings}
        work = build(Settings.from_env(env))
        started.append(work)
        return Backend(work, create_app(PrelabelModel, work).test_client())

    yield start
    for work in started:
        work.close()


@pytest.fixture
def ask(llm: FakeLLM) -> Iterator[Ask]:
    with asking_of(llm) as ask:
        yield ask


@pytest.fixture
def backend(start: Start) -> Backend:
    return start()


def json_of(reply: TestResponse) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(reply.data)
    return body


def task(number: int, text: Any) -> dict[str, Any]:
    return {"id": number, "data": {"text": text}}


def annotation(number: int, choice: str | None, origin: str | None = "manual", **more: Any) -> dict[str, Any]:
    """An annotation as a webhook carries it, with one choice or none."""
    region: dict[str, Any] = {"from_name": "intent", "to_name": "text", "type": "choices"}
    region["value"] = {"choices": [choice]}
    if origin:
        region["origin"] = origin
    return {
        "id": number,
        "result": [region] if choice else [],
        "was_cancelled": False,
        "ground_truth": False,
        "updated_at": "2026-11-21T09:00:00.000000Z",
        "completed_by": 1,
        "parent_prediction": None,
        **more,
    }


def labels_of(item: dict[str, Any]) -> dict[str, list[str]]:
    return {region["from_name"]: region["value"]["choices"] for region in item["result"] if region["type"] == "choices"}

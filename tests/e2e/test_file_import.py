"""What ``file`` writes, uploaded to a real Label Studio as people do it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.backend import Backend
from tests.e2e.studio_api import StudioApi
from tests.servers import REPOSITORY

pytestmark = pytest.mark.usefixtures("llm")  # which answers again as usual, whatever tests before ordered

EXAMPLES = REPOSITORY / "examples"


def choices(result: list[dict[str, Any]]) -> list[list[str]]:
    return [region["value"]["choices"] for region in result]


@pytest.mark.parametrize(
    ("tasks", "config", "env"),
    [
        ("tickets.csv", "tickets.xml", {}),
        ("dialogues.json", "dialogues.xml", {}),
        ("tickets.csv", "tickets.xml", {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}),
    ],
    ids=["tickets", "dialogues", "without an LLM"],
)
def test_label_studio_imports_every_task_review_and_prediction(
    studio: StudioApi, backend: Backend, tmp_path: Path, tasks: str, config: str, env: dict[str, str]
) -> None:
    out = tmp_path / "predictions.json"
    backend.run("file", str(EXAMPLES / tasks), "--config", str(EXAMPLES / config), "--out", str(out), **env)
    written = json.loads(out.read_text("utf-8"))
    project = studio.create_project("Imported", (EXAMPLES / config).read_text("utf-8"))

    with out.open("rb") as file:
        counts = studio.call("POST", f"/api/projects/{project}/import", files={"file": (out.name, file)})

    found = sorted(studio.tasks(project), key=lambda task: task["id"])
    predicted = [task["predictions"] for task in written if task.get("predictions")]
    assert (counts["task_count"], counts["prediction_count"]) == (len(written), len(predicted))
    assert [task["data"] for task in found] == [task["data"] for task in written]
    for kind in ("predictions", "annotations"):
        assert [[choices(each["result"]) for each in task[kind]] for task in found] == [
            [choices(each["result"]) for each in task.get(kind, [])] for task in written
        ]
    scores = {prediction["score"] for task in found for prediction in task["predictions"]}
    assert scores == {each["score"] for (each,) in predicted}
    assert {studio.project(project)["model_version"]} == {each["model_version"] for (each,) in predicted}

"""Predictions that are too many, as the real Label Studio tells of them."""

from prelabel.studio.client import StudioClient
from tests.e2e.studio_api import StudioApi
from tests.servers import LabelStudio

CONFIG = """
<View><Text name="text" value="$text"/>
<Choices name="intent" toName="text"><Choice value="Refund"/><Choice value="Other"/></Choices></View>
"""
REFUND = {"from_name": "intent", "to_name": "text", "type": "choices", "value": {"choices": ["Refund"]}}


def row(task: int, version: str) -> dict[str, object]:
    return {"task": task, "result": [REFUND], "score": 0.9, "model_version": version}


def test_a_second_prediction_of_a_version_is_found(label_studio: LabelStudio, studio: StudioApi) -> None:
    project = studio.create_project("Surplus", CONFIG)
    tasks = studio.import_tasks(project, [{"text": f"Refund {number}"} for number in range(3)])
    client = StudioClient(label_studio.url, label_studio.token)
    client.import_predictions(project, [row(task, version) for version in ("v1-aaaa", "v2-bbbb") for task in tasks])
    before = client.has_surplus(project, "v2-bbbb")

    client.import_predictions(project, [row(tasks[1], "v2-bbbb")])

    found = [row for page in client.multiple_predictions(project, "v2-bbbb") for row in page]
    assert (before, client.has_surplus(project, "v2-bbbb"), client.has_surplus(project, "v1-aaaa")) == (
        False,
        True,
        False,
    )
    assert sorted((row.task_id, row.version) for row in found) == sorted(
        [*((task, version) for version in ("v1-aaaa", "v2-bbbb") for task in tasks), (tasks[1], "v2-bbbb")]
    )


def test_a_project_without_predictions_has_none_too_many(label_studio: LabelStudio, studio: StudioApi) -> None:
    project = studio.create_project("Surplus", CONFIG)
    studio.import_tasks(project, [{"text": "Refund"}])
    client = StudioClient(label_studio.url, label_studio.token)

    assert client.has_surplus(project, "v1-aaaa") is False
    assert list(client.multiple_predictions(project, "v1-aaaa")) in ([], [[]])

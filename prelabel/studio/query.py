"""What is asked of a listing of tasks, in the words of Label Studio's Data Manager."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def lacking(version: str | None) -> list[dict[str, Any]]:
    """The condition that a task has no prediction of ``version``."""
    if version is None:
        return []
    return [compared_version("not_contains", version)]


def compared_version(operator: str, version: str) -> dict[str, Any]:
    """A condition on the versions of a task's predictions, which Label Studio compares by substring."""
    versions = "filter:tasks:predictions_model_versions"
    return {"filter": versions, "operator": operator, "type": "List", "value": [version]}


def compared(column: str, operator: str, value: int) -> dict[str, Any]:
    """A condition on a number."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": "Number", "value": value}


def listing(
    project_id: int, items: Sequence[Mapping[str, Any]], selected: Sequence[int] | None = None
) -> dict[str, Any]:
    """What is asked of a listing of the tasks that fulfil all conditions, by id; only of those ``selected``."""
    query: dict[str, Any] = {"filters": {"conjunction": "and", "items": list(items)}, "ordering": ["tasks:id"]}
    if selected is not None:
        query["selectedItems"] = {"all": False, "included": list(selected)}
    # Without "review" a project with evaluate_predictions_automatically asks us to predict the whole page.
    return {"project": project_id, "query": json.dumps(query), "resolve_uri": False, "review": True}

"""The tasks and predictions of the fake Label Studio, as far as bulk runs need them."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Reply = tuple[int, Any]


class StudioTasks:
    """One project's tasks; a test reads and changes them while others ask."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        """By task id."""
        self.predictions: list[Json] = []
        self.imports: list[list[Json]] = []
        """What each call brought, refused ones too."""
        self.before_import: Callable[[], None] = lambda: None
        """Called as an import comes in."""
        self.refuses_imports = ""
        """Why it takes none."""
        self._lock = threading.RLock()
        self._next_prediction = 1

    def add(self, count: int, text: str = "refund number") -> list[int]:
        """That many more tasks; their ids, which have gaps."""
        with self._lock:
            first = max(self.texts, default=0)
            added = [first + 3 * number for number in range(1, count + 1)]
            self.texts |= {task: f"{text} {task}" for task in added}
        return added

    def delete(self, task: int) -> None:
        with self._lock:
            del self.texts[task]
            self.predictions = [row for row in self.predictions if row["task"] != task]

    def per_task(self, version: str) -> Counter[int]:
        """How many tasks have how many predictions of ``version``."""
        with self._lock:
            found = Counter(row["task"] for row in self.predictions if row["model_version"] == version)
        return Counter(found.values())

    def listed(self, query: Mapping[str, list[str]]) -> Reply:
        """A page of the Data Manager's list."""
        items = json.loads(query["query"][0])["filters"]["items"]
        with self._lock:
            found = [task for task in sorted(self.texts) if all(self._fits(task, item) for item in items)]
            count = int(query["page_size"][0])
            tasks = [{"id": task, "data": {"text": self.texts[task]}} for task in found[:count]]
        return 200, {"tasks": tasks, "total": len(found), "total_annotations": 0, "total_predictions": 0}

    def imported(self, rows: list[Json], project: str) -> Reply:
        """All rows or none, as the real one takes them; ``project`` as its refusal names it."""
        self.before_import()
        with self._lock:
            self.imports.append(rows)
            if self.refuses_imports:
                return 400, {"status_code": 400, "detail": self.refuses_imports}
            for row in rows:
                if row["task"] not in self.texts:
                    why = (
                        f"""contains invalid "task" field: corresponding task ID couldn't be retrieved from {project}"""
                    )
                    return 400, {
                        "status_code": 400,
                        "detail": "Validation error",
                        "validation_errors": [f"{row} {why}"],
                    }
            for row in rows:
                self.add_prediction(row)
        return 201, {"created": len(rows)}

    def add_prediction(self, row: Json) -> None:
        with self._lock:
            self.predictions.append({"id": self._next_prediction, **row})
            self._next_prediction += 1

    def deleted_prediction(self, number: int) -> Reply:
        with self._lock:
            left = [row for row in self.predictions if row["id"] != number]
            is_gone = len(left) == len(self.predictions)
            self.predictions = left
        if is_gone:
            return 404, {"status_code": 404, "detail": "No Prediction matches the given query."}
        return 204, ""

    def _fits(self, task: int, item: Json) -> bool:
        match item["filter"], item["operator"]:
            case "filter:tasks:id", "greater":
                return bool(task > item["value"])
            case "filter:tasks:id", "less":
                return bool(task < item["value"])
            case "filter:tasks:predictions_model_versions", "not_contains":
                (version,) = item["value"]
                return not any(row["task"] == task and version in row["model_version"] for row in self.predictions)
        raise ValueError(f"no filter of ours: {item}")

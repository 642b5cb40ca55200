"""The tasks and predictions of the fake Label Studio, as far as bulk runs need them."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Reply = tuple[int, Any]
NO_PREDICTION = {"status_code": 404, "detail": "No Prediction matches the given query."}


class StudioTasks:
    """One project's tasks; a test reads and changes them while others ask."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        """By task id."""
        self.predictions: list[Json] = []
        self.annotations: dict[int, list[Json]] = {}
        """By task id."""
        self.imports: list[list[Json]] = []
        """What each call brought, refused ones too."""
        self.before_import: Callable[[], None] = lambda: None
        """Called as an import comes in."""
        self.before_change: Callable[[], None] = lambda: None
        """Called as a prediction is to be changed."""
        self.refuses_imports = ""
        """Why it takes none."""
        self.is_away = False
        """Whether a proxy answers in its place."""
        self.hangs_up_after_import = 0
        """Of how many imports nobody is told that they were made."""
        self.drops: set[int] = set()
        """The tasks whose predictions it does not take, and does not say so."""
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

    def versions(self) -> Counter[str]:
        """How many predictions there are of each version."""
        with self._lock:
            return Counter(row["model_version"] for row in self.predictions)

    def listed(self, query: Mapping[str, list[str]]) -> Reply:
        """A page of the Data Manager's list."""
        asked = json.loads(query["query"][0])
        items, selected = asked["filters"]["items"], asked.get("selectedItems")
        with self._lock:
            found = [task for task in sorted(self.texts) if all(self._fits(task, item) for item in items)]
            if selected:
                found = [task for task in found if task in selected["included"]]
            count = int(query["page_size"][0])
            tasks: list[Json] = [{"id": task, "data": {"text": self.texts[task]}} for task in found[:count]]
            if query["fields"] == ["all"]:
                for task in tasks:
                    task["predictions"] = [row for row in self.predictions if row["task"] == task["id"]]
                    task["annotations"] = self.annotations.get(task["id"], [])
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
            taken = [row for row in rows if row["task"] not in self.drops]
            for row in taken:
                self.add_prediction(row)
            if self.hangs_up_after_import:
                self.hangs_up_after_import -= 1
                return 504, "<h1>504 Gateway Time-out</h1>"
        return 201, {"created": len(taken)}

    def add_prediction(self, row: Json) -> None:
        with self._lock:
            self.predictions.append({"id": self._next_prediction, **row})
            self._next_prediction += 1

    def changed(self, number: int, fields: Json) -> Reply:
        """A prediction, some of whose fields are others now."""
        self.before_change()
        with self._lock:
            found = next((row for row in self.predictions if row["id"] == number), None)
            if found:
                found |= fields
        return (200, found) if found else (404, NO_PREDICTION)

    def deleted(self, number: int) -> Reply:
        """A prediction that is gone now."""
        with self._lock:
            left = [row for row in self.predictions if row["id"] != number]
            is_gone = len(left) == len(self.predictions)
            self.predictions = left
        return (404, NO_PREDICTION) if is_gone else (204, "")

    def _fits(self, task: int, item: Json) -> bool:
        match item["filter"], item["operator"]:
            case "filter:tasks:id", "greater":
                return bool(task > item["value"])
            case "filter:tasks:id", "less":
                return bool(task < item["value"])
            case "filter:tasks:total_annotations", "greater":
                return bool(len(self.annotations.get(task, [])) > item["value"])
            case "filter:tasks:total_predictions", "greater":
                return bool(sum(row["task"] == task for row in self.predictions) > item["value"])
            case "filter:tasks:predictions_model_versions", ("contains" | "not_contains") as operator:
                (version,) = item["value"]
                has = any(row["task"] == task and version in row["model_version"] for row in self.predictions)
                return has is (operator == "contains")
        raise ValueError(f"no filter of ours: {item}")

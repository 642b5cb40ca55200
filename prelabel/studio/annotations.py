"""Label Studio's annotations to the labels they hold and to who is behind them.

Works on what its webhooks send and on what its API lists, which differ a little: a list in place of an object, a user
as a number or as an object. Whatever is missing or odd means that there is nothing to learn, never an error.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from prelabel.core.types import Abstained, Annotation, LabelSource, Prediction
from prelabel.studio.label_config import LabelConfig
from prelabel.studio.tickets import read_id, read_ticket


def read_annotation(
    annotation: Mapping[str, Any],
    task: Mapping[str, Any],
    config: LabelConfig,
    *,
    predicted: Prediction | None = None,
    withheld: bool = False,
    own_user: int | None = None,
    known: LabelSource | None = None,
) -> Annotation | None:
    """What ``annotation`` says of ``task``, None if nothing: skipped, without a label, or of a task without text.

    :param predicted: what prelabel had said of the task.
    :param withheld: whether the task is one that people label without a suggestion.
    :param own_user: the id of the user whose token prelabel uses.
    :param known: who was behind it when it was last heard of.
    """
    number, task_number = read_id(annotation.get("id")), read_id(task.get("id"))
    regions = read_regions(annotation)
    labels = read_labels(regions, config)
    if number is None or task_number is None or annotation.get("was_cancelled"):
        return None
    ticket = read_ticket(task, config)
    if not labels or isinstance(ticket, Abstained):
        return None
    return Annotation(
        id=number,
        task_id=task_number,
        text=ticket.text,
        labels=labels,
        source=_source(annotation, regions, withheld=withheld, own_user=own_user, known=known),
        updated_at=read_time(annotation.get("updated_at")),
        author=_user(annotation.get("completed_by")),
        ground_truth=annotation.get("ground_truth") is True,
        predicted=predicted,
        correction=_is_correction(regions, labels, predicted),
    )


def read_regions(annotation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The annotation's regions, those that are objects."""
    result = annotation.get("result")
    return [region for region in result if isinstance(region, Mapping)] if isinstance(result, list) else []


def read_labels(regions: Sequence[Mapping[str, Any]], config: LabelConfig) -> dict[str, tuple[str, ...]]:
    """Control name to chosen values, for the controls prelabel answers; the prompt's own field is no label."""
    names = {question.name for question in config.questions}
    labels = {}
    for region in regions:
        value = region.get("value")
        chosen = value.get("choices") if isinstance(value, Mapping) else None
        name = region.get("from_name")
        if isinstance(name, str) and name in names and isinstance(chosen, list):
            values = tuple(dict.fromkeys(choice for choice in chosen if isinstance(choice, str)))
            if values:
                labels[name] = values
    return labels


def read_prompt(regions: Sequence[Mapping[str, Any]], config: LabelConfig) -> str:
    """The prompt that stands among ``regions``, the last if several were added; empty if there is none."""
    prompt = ""
    for region in regions:
        if config.prompt_field and region.get("from_name") == config.prompt_field.name:
            value = region.get("value")
            texts = value.get("text") if isinstance(value, Mapping) else None
            texts = [texts] if isinstance(texts, str) else texts
            if isinstance(texts, list) and texts and isinstance(texts[-1], str):
                prompt = texts[-1].encode("utf-8", "replace").decode().strip()  # half a character cannot be stored
    return prompt


def read_past_prediction(
    annotation: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]], config: LabelConfig
) -> Prediction | None:
    """The prediction that ``annotation`` was made from, of those that Label Studio's API lists for its task."""
    for prediction in predictions:
        if isinstance(number := prediction.get("id"), int) and number == annotation.get("parent_prediction"):
            score = prediction.get("score")
            return Prediction(
                read_labels(read_regions(prediction), config),
                float(score) if isinstance(score, int | float) else 0.0,
                str(prediction.get("model_version") or ""),
            )
    return None


def read_time(value: object) -> float:
    """An ISO 8601 time in Unix seconds, 0 if it is none; without a zone it counts as UTC."""
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return 0.0
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _source(
    annotation: Mapping[str, Any],
    regions: Sequence[Mapping[str, Any]],
    *,
    withheld: bool,
    own_user: int | None,
    known: LabelSource | None,
) -> LabelSource:
    """Label Studio's interface marks every region with an ``origin``; its actions and API clients do not.

    A withheld task that was opened has an empty prediction, from which what people choose there descends; what they
    choose is ``manual`` all the same, and would be ``prediction-changed`` if they had been shown anything. Once a
    prediction is deleted, as all old ones are by a run that scores anew, what was made from it names none any more.
    """
    by_hand = any(region.get("origin") for region in regions)
    suggested = annotation.get("parent_prediction") is not None or known is LabelSource.BULK_ACCEPTED
    if not by_hand and suggested:
        return LabelSource.BULK_ACCEPTED
    if not by_hand and own_user is not None and _user(annotation.get("completed_by")) == own_user:
        return LabelSource.BACKEND
    seen = any(str(region.get("origin")).startswith("prediction") for region in regions)
    return LabelSource.PERSON_BLIND if withheld and not seen else LabelSource.PERSON


def _is_correction(
    regions: Sequence[Mapping[str, Any]], labels: Mapping[str, Sequence[str]], predicted: Prediction | None
) -> bool:
    """A changed region says so itself; where none does, the labels are compared with what had been predicted."""
    origins = {region.get("origin") for region in regions if region.get("from_name") in labels}
    if "prediction-changed" in origins:
        return True
    if predicted is None or origins == {"prediction"}:
        return False
    said = {name: set(values) for name, values in predicted.labels.items() if values}
    return {name: set(values) for name, values in labels.items()} != said


def _user(value: object) -> int | None:
    if isinstance(value, Mapping):
        value = value.get("id")
    return read_id(value)

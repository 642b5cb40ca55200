"""A task that is withheld shows no suggestion, whoever was about to make one when it was drawn."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from prelabel.bootstrap import Services
from prelabel.runs import control
from prelabel.store.run import Run
from tests.e2e.waiting import until
from tests.fakes.llm_policy import Verdict, by_words
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import FakeLLM
from tests.integration.project_seven import REF
from tests.integration.runs.conftest import Gate, Open, Site
from tests.integration.runs.test_evidence import doubtful, label_blind, number_of, scores, withheld

TASKS, BLIND = 160, 80


def suggested(site: Site) -> set[int]:
    """Tasks with a prediction that shows a label."""
    return {row["task"] for row in site.tasks.predictions if row["result"]}


def predicting(site: Site, tasks: Sequence[int]) -> Future[Any]:
    """Label Studio asks ``/predict`` about these, in a thread of its own."""
    config, texts = site.studio.projects[7]["label_config"], site.tasks.texts
    asked = [{"id": task, "data": {"text": texts[task]}} for task in tasks]
    return site.aside.submit(site.work.service.predict, REF, config, asked)


def stored(site: Site, tasks: Sequence[int], items: Sequence[dict[str, Any]]) -> None:
    """Label Studio stores what ``/predict`` has said."""
    for task, item in zip(tasks, items, strict=True):
        if item:
            site.tasks.add_prediction({"task": task, **item})


def test_scores_made_anew_bring_no_suggestion_to_tasks_withheld_since(site: Site, llm: FakeLLM) -> None:
    llm.answer = doubtful
    tasks = site.tasks.add(TASKS)
    site.do(site.start())
    site.tasks.predictions.clear()  # as "Delete Predictions" does
    site.do(site.start(validation=BLIND))
    label_blind(site, withheld(site))

    run = site.do(site.start(rescore=True))

    assert (run.state, run.counts["labeled"], run.counts["withheld"]) == ("succeeded", TASKS - BLIND, BLIND)
    assert suggested(site) == set(tasks) - withheld(site)
    assert site.work.projects.predicted(REF, sorted(withheld(site))) == {}
    assert site.per_task() == {1: TASKS - BLIND}


def test_scores_made_anew_bring_back_no_prediction_that_was_deleted(site: Site, llm: FakeLLM) -> None:
    llm.answer = doubtful
    site.tasks.add(TASKS)
    site.do(site.start(validation=BLIND))
    label_blind(site, withheld(site))
    deleted = set(sorted(scores(site))[:20])
    site.tasks.predictions = [row for row in site.tasks.predictions if row["task"] not in deleted]

    run = site.do(site.start(rescore=True))

    assert (run.state, run.counts["labeled"], run.counts["skipped"]) == ("succeeded", TASKS - BLIND - 20, 20)
    assert deleted.isdisjoint(scores(site))
    assert site.per_task() == {1: TASKS - BLIND - 20}


def test_answers_to_tasks_withheld_since_are_not_written(site: Site) -> None:
    tasks = site.tasks.add(40)
    site.tasks.refuses_imports = "no"
    failed = site.do(site.start())
    site.tasks.refuses_imports = ""
    site.work.projects.withhold(REF, tasks[:15])

    run = site.do(control.retry(site.work, failed.id))

    assert (failed.state, failed.answered) == ("failed", 40)
    assert (run.state, run.counts["labeled"], run.counts["withheld"]) == ("succeeded", 25, 15)
    assert (run.done, run.answered, run.waiting) == (40, 0, 0)
    assert suggested(site) == set(tasks[15:])


def test_where_all_tasks_were_withheld_since_nothing_is_written(site: Site) -> None:
    tasks = site.tasks.add(10)
    site.tasks.refuses_imports = "no"
    failed = site.do(site.start())
    imports = len(site.tasks.imports)
    site.work.projects.withhold(REF, tasks)

    run = site.do(control.retry(site.work, failed.id))

    assert (run.state, run.counts["withheld"], run.done) == ("succeeded", 10, 10)
    assert len(site.tasks.imports) == imports


def test_what_is_being_asked_about_when_its_task_is_drawn_is_answered_as_withheld(site: Site, llm: FakeLLM) -> None:
    llm.answer = gate = Gate()
    tasks = site.tasks.add(20)
    answer = predicting(site, tasks[:10])
    assert gate.reached.wait(20)
    run = site.start(validation=20)
    doing = site.doing(run)
    until(lambda: withheld(site) == set(tasks))

    gate.opened.set()
    items = answer.result(30)
    stored(site, tasks[:10], items)
    doing.result(30)

    assert [(item["result"], item["score"]) for item in items] == [([], None)] * 10
    assert site.work.runs.get(run.id).state == "succeeded"
    assert suggested(site) == set()
    assert site.work.projects.predicted(REF, tasks) == {}


class Drawn:
    """A policy that answers about withheld tasks at once, and about others once its gate is opened."""

    def __init__(self, site: Site) -> None:
        self.gate = Gate()
        self._site = site

    def __call__(self, text: str, asked: Asked) -> Verdict:
        is_drawn = number_of(text) in withheld(self._site)
        return by_words(text, asked) if is_drawn else self.gate(text, asked)


def test_what_label_studio_stores_after_the_draw_is_gone_when_the_run_is_over(site: Site) -> None:
    tasks = site.tasks.add(20)
    items = predicting(site, tasks).result(30)
    run = site.start(validation=20)
    doing = site.doing(run)
    until(lambda: site.work.runs.get(run.id).is_planned)

    stored(site, tasks, items)
    doing.result(30)

    assert (site.work.runs.get(run.id).state, withheld(site)) == ("succeeded", set(tasks))
    assert suggested(site) == set()


@pytest.mark.parametrize(("leave", "state"), [(control.pause, "paused"), (control.cancel, "canceled")])
def test_a_run_that_is_left_leaves_no_suggestion_on_its_sample(
    open_site: Open, llm: FakeLLM, leave: Callable[[Services, str], Run], state: str
) -> None:
    site = open_site(LLM_TASKS_PER_REQUEST="1", ANSWER_CACHE_DAYS="0")
    tasks = site.tasks.add(40)
    items = predicting(site, tasks).result(30)
    site.work.projects.note_live(REF, [], no_more=tasks)
    llm.answer = policy = Drawn(site)
    run = site.start(validation=20)
    doing = site.doing(run)
    assert policy.gate.reached.wait(20)
    stored(site, tasks, items)

    leave(site.work, run.id)
    policy.gate.opened.set()
    doing.result(60)

    assert (site.work.runs.get(run.id).state, len(withheld(site))) == (state, 20)
    assert suggested(site) == set(tasks) - withheld(site)
    assert site.per_task() == {1: 20}


def test_an_empty_prediction_of_a_withheld_task_stays_for_who_has_it_open(site: Site) -> None:
    site.tasks.add(20)
    site.do(site.start(validation=5))
    [first, *_] = sorted(withheld(site))
    stored(site, [first], predicting(site, [first]).result(30))

    dropped = site.work.studio().drop_predictions(7, [first], keeps_empty=True)

    assert dropped == set()
    assert [(row["result"], row["score"]) for row in site.tasks.predictions if row["task"] == first] == [([], None)]

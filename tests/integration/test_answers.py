"""Answers kept in a real Redis: found again by what they answer, for a while, up to so many, and by nothing else."""

import re
from collections.abc import Iterator

import pytest
import redis

from prelabel.bootstrap import build
from prelabel.config import Settings
from prelabel.core.kept import Answers
from prelabel.store.answers import DAY_S, AnswerCache
from prelabel.store.connection import connect
from prelabel.store.keys import Keys, ProjectRef
from tests.integration.conftest import Backend
from tests.servers import free_port

KEYS = Keys("http://localhost:8080")
REF, OTHER = ProjectRef(7, 1795235920), ProjectRef(70, 1795235920)
TICKET = "my parcel has not come"


class Clock:
    now = 1_795_235_920.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """Of a site that knows both projects."""
    with connect(redis_url) as client:
        client.hset(KEYS.projects, mapping={str(REF.id): REF.created, str(OTHER.id): OTHER.created})
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


def cache(client: redis.Redis, clock: Clock, days: int = 7, size: int = 1000) -> AnswerCache:
    return AnswerCache(client, KEYS, days=days, size=size, clock=clock)


@pytest.fixture
def answers(client: redis.Redis, clock: Clock) -> Answers:
    return cache(client, clock).of(REF)


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """Replies as bytes, for digests are no text."""
    with redis.Redis.from_url(redis_url) as raw:
        yield raw


def dump(raw: redis.Redis) -> str:
    """All that Redis holds, keys and values."""
    return str({key: raw.hgetall(key) if raw.type(key) == b"hash" else raw.get(key) for key in raw.scan_iter()})


def test_an_answer_is_found_by_what_it_answers_and_by_nothing_else(answers: Answers) -> None:
    answers.keep({f"subject {number}": f"[0.9,{number}]" for number in range(300)})

    assert answers.recall(["subject 5", "subject", "subject 299", "Subject 5"]) == ["[0.9,5]", None, "[0.9,299]", None]


@pytest.mark.parametrize("subject", ["", "Größe 🙂", "half of 🙂: \ud83d", "x" * 100_000])
def test_any_text_may_be_asked_about(answers: Answers, subject: str) -> None:
    answers.keep({subject: "[]"})

    assert answers.recall([subject, f"{subject}."]) == ["[]", None]


def test_no_question_has_no_answer(raw: redis.Redis, answers: Answers) -> None:
    answers.keep({})

    assert answers.recall([]) == []
    assert raw.keys() == [KEYS.projects.encode()]


def test_an_answer_can_be_kept_by_a_name_that_tells_nothing(raw: redis.Redis, answers: Answers) -> None:
    names = answers.names(["a refund", "a parcel", "a refund"])

    answers.keep_named({names[1]: "[]"})

    assert answers.recall(["a refund", "a parcel"]) == [None, "[]"]
    assert names[0] == names[2]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{16}", name) for name in names)
    assert "parcel" not in dump(raw)


def test_every_process_finds_what_another_has_kept(client: redis.Redis, clock: Clock) -> None:
    cache(client, clock).of(REF).keep({"subject": "[]"})

    assert cache(client, clock).of(REF).recall(["subject"]) == ["[]"]


def test_projects_share_nothing_not_even_digests(client: redis.Redis, raw: redis.Redis, clock: Clock) -> None:
    both = cache(client, clock, size=1)

    both.of(REF).keep({"subject": "[]"})
    neighbours = both.of(OTHER).recall(["subject"])
    both.of(OTHER).keep({"subject": "[]"})

    one, other = (raw.hgetall(KEYS.of(ref, "answers:0")).keys() for ref in (REF, OTHER))
    assert neighbours == [None]
    assert (len(one), len(other), one == other) == (1, 1, False)


def test_an_answer_is_forgotten_after_its_days(client: redis.Redis, clock: Clock, answers: Answers) -> None:
    answers.keep({"old": "[]"})
    clock.now += 4 * DAY_S
    answers.keep({"new": "[]"})
    clock.now += 4 * DAY_S

    assert answers.recall(["old", "new"]) == [None, "[]"]
    assert cache(client, clock, days=3).of(REF).recall(["new"]) == [None]


def test_what_nobody_has_added_to_for_so_long_leaves_redis(client: redis.Redis, answers: Answers) -> None:
    answers.keep({f"subject {number}": "[]" for number in range(100)})

    left = [client.ttl(key) for key in client.scan_iter(KEYS.pattern(REF.id))]
    assert left
    assert all(7 * DAY_S - 60 < ttl <= 7 * DAY_S for ttl in left)


def test_an_answer_kept_anew_is_as_good_as_new(clock: Clock, answers: Answers) -> None:
    answers.keep({"subject": "[]"})
    clock.now += 5 * DAY_S
    answers.keep({"subject": '[0.9,"1"]'})
    clock.now += 5 * DAY_S

    assert answers.recall(["subject"]) == ['[0.9,"1"]']


@pytest.mark.parametrize("size", [1, 7, 100, 101, 1000])
def test_there_are_never_more_than_so_many_and_the_oldest_go_first(
    client: redis.Redis, clock: Clock, size: int
) -> None:
    answers = cache(client, clock, size=size).of(REF)
    subjects = [str(number) for number in range(3 * size)]

    for start in range(0, len(subjects), 50):
        clock.now += 1
        answers.keep(dict.fromkeys(subjects[start : start + 50], "[]"))

    found = [subject for subject, text in zip(subjects, answers.recall(subjects), strict=True) if text]
    assert size * 0.7 <= len(found) <= size
    newest = subjects[-max(1, size // 2) :]
    assert size < 100 or len(set(found) & set(newest)) > 0.98 * len(newest)


def test_many_answers_take_few_bytes_each(client: redis.Redis, clock: Clock) -> None:
    """A hash that outgrew what Redis keeps in one piece would take four times as much."""
    answers = cache(client, clock, size=2000).of(REF)
    answers.keep({str(number): '[0.93,"12"]' for number in range(1800)})

    keys = list(client.scan_iter(KEYS.pattern(REF.id)))
    total = sum(client.memory_usage(key, samples=0) or 0 for key in keys)
    assert total / 1700 < 50


def test_no_ticket_is_kept_and_the_same_question_looks_different_elsewhere(
    client: redis.Redis, raw: redis.Redis, clock: Clock, answers: Answers
) -> None:
    answers.keep({TICKET: '[0.9,"1"]'})
    first = dump(raw)
    client.flushall()
    cache(client, clock).of(REF).keep({TICKET: '[0.9,"1"]'})

    assert not any(word in first for word in TICKET.split())
    assert first.count("answers:") == 2, "the secret, and one hash"
    assert dump(raw) != first


def test_without_redis_nothing_is_known_and_nothing_breaks(clock: Clock) -> None:
    with connect(f"redis://127.0.0.1:{free_port()}/0") as nowhere:
        answers = cache(nowhere, clock).of(REF)
        answers.keep({"subject": "[]"})

        assert answers.recall(["subject", "another"]) == [None, None]


@pytest.mark.parametrize("foreign", ["", "x", "zzzzzzzz[]", "1", "6b0000"])
def test_what_somebody_else_wrote_is_at_worst_no_answer(raw: redis.Redis, answers: Answers, foreign: str) -> None:
    answers.keep({"subject": "[]"})
    [key] = raw.scan_iter(KEYS.pattern(REF.id))
    [field] = raw.hgetall(key)
    raw.hset(key, field, foreign)

    assert answers.recall(["subject"])[0] in {None, "", "[]"}


def test_a_key_of_another_type_is_no_answer(client: redis.Redis, answers: Answers) -> None:
    answers.keep({"subject": "[]"})
    [key] = client.scan_iter(KEYS.pattern(REF.id))
    client.delete(key)
    client.set(key, "foreign")

    answers.keep({"subject": "[]"})

    assert answers.recall(["subject"]) == [None]


def test_forgetting_a_project_leaves_no_key_of_it_and_its_neighbours_theirs(backend: Backend) -> None:
    work = backend.work
    both = AnswerCache(work.redis, Keys(""), days=7, size=1000)
    for ref in (REF, OTHER):
        work.projects.state(ref)
        both.of(ref).keep({f"subject {number}": "[]" for number in range(50)})
    assert list(work.redis.scan_iter(Keys("").pattern(REF.id)))

    work.projects.forget(REF.id)

    assert list(work.redis.scan_iter(Keys("").pattern(REF.id))) == []
    both.of(REF).keep({"subject 1": "[]"})  # of a worker that was labelling meanwhile
    assert both.of(REF).recall(["subject 1"]) == [None]
    assert list(work.redis.scan_iter(Keys("").pattern(REF.id))) == []
    assert both.of(OTHER).recall(["subject 1"]) == ["[]"]


@pytest.mark.parametrize(("days", "keeps"), [("0", False), ("1", True)])
def test_zero_days_turn_it_off(redis_url: str, days: str, keeps: bool) -> None:
    work = build(Settings.from_env({"REDIS_URL": redis_url, "ANSWER_CACHE_DAYS": days}))

    assert (work.labeler._answering._answers_of is not None) is keeps
    work.close()

"""All that goes wrong at LLM servers, each as a value that a test enqueues, and a mix of them.

What spoils a reply is made from the honest one, so that it goes wrong in the way such replies do, whatever was asked:
a ``Twist`` of ``llm_replies``. Refusals of parameters are taken from ``llm_moods``.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.fakes.llm_moods import BABBLE, Refuse, as_llama_cpp_python, as_openai
from tests.fakes.llm_replies import (
    Completion,
    CutOff,
    Drop,
    Fault,
    Hang,
    Refusal,
    Reply,
    Twist,
    WithoutLogprobs,
    error_body,
)
from tests.fakes.llm_request import Asked

FOREIGN_LABEL = "Ombudsman"
"""A label of no config."""

Answers = list[dict[str, Any]]


def twisted(change: Callable[[Answers, Asked], Answers]) -> Twist:
    """The honest reply with other answers; what is no reply of answers stays as it is."""

    def twist(honest: str, asked: Asked) -> Completion:
        try:
            answers = json.loads(honest)["answers"]
        except ValueError:
            return honest
        return json.dumps({"answers": change(answers, asked)}, ensure_ascii=False)

    return Twist(twist)


def refused(refuse: Refuse, *parameters: str) -> Twist:
    """A refusal of the first of ``parameters`` that was sent; where none was, the honest reply."""

    def twist(honest: str, asked: Asked) -> Completion | Fault:
        sent = [name for name in parameters if name in asked.body]
        return refuse(sent[0], asked.body[sent[0]]) if sent else honest

    return Twist(twist)


def _relabelled(spell: Callable[[str], str]) -> Callable[[Answers, Asked], Answers]:
    """Every label of every answer written as ``spell`` writes its displayed text."""

    def change(answers: Answers, asked: Asked) -> Answers:
        for answer in answers:
            for control in asked.controls:
                given = answer[control.key]
                names = [
                    spell(control.labels.get(each, each)) for each in ([given] if isinstance(given, str) else given)
                ]
                answer[control.key] = names if control.multiple else names[0]
        return answers

    return change


def _doubled(answers: Answers, asked: Asked) -> Answers:
    """Every other answer a second time with another label: which of the two is meant, nobody can tell."""
    doubles = []
    for answer in answers[::2]:
        double = dict(answer)
        for control in asked.controls:
            others = [each for each in control.ids if each != answer[control.key]] or list(control.ids)
            double[control.key] = [others[0]] if control.multiple else others[0]
        doubles.append(double)
    return [*answers, *doubles]


MALFORMED = Twist(lambda honest, _: honest.replace('"', "'"))
PROSE = Twist(lambda honest, _: f"Sure! I went through them {{one by one}} [as asked]:\n\n{honest}\n\nAnything else?")
FENCED = Twist(lambda honest, _: f"```json\n{honest}\n```")
CUT_OFF = Twist(lambda honest, _: CutOff(honest[: len(honest) // 2]))
REFUSAL = Refusal("I'm sorry, but I cannot help with that.")
EMPTY = ""
IGNORED = BABBLE
"""The form was ignored."""
MISSPELLED = twisted(_relabelled(lambda label: f"  {label.swapcase().replace(' ', '  ')} "))
FOREIGN = twisted(_relabelled(lambda _: FOREIGN_LABEL))
WRONG_IDS = twisted(lambda answers, _: [{**answer, "id": answer["id"] + 1000} for answer in answers])
"""Foreign ones; exchanged ones nobody could tell from right ones."""
DOUBLED_IDS = twisted(_doubled)
MISSING_IDS = twisted(lambda answers, _: answers[1::2])
"""Every other answer is there; of a single one, none."""
NO_LOGPROBS = Twist(lambda honest, _: WithoutLogprobs(honest))

BUSY_MS = Fault(429, {"retry-after-ms": "150"})
BUSY_S = Fault(429, {"retry-after": "1"})
BUSY = Fault(429)
SERVER_ERROR = Fault(500)
BAD_GATEWAY = Fault(502, {"content-type": "text/html"}, "<html><body><h1>502 Bad Gateway</h1></body></html>")
OVERLOADED = Fault(503)
HANG = Hang(2.0)
DROP = Drop()
UNSUPPORTED = refused(as_openai, "temperature", "response_format")
UNSUPPORTED_500 = refused(as_llama_cpp_python, "response_format")

QUOTA = Fault(
    429,
    body=error_body(
        "You exceeded your current quota, please check your plan and billing details.",
        kind="insufficient_quota",
        code="insufficient_quota",
    ),
)
UNAUTHORIZED = Fault(401)
FORBIDDEN = Fault(403)
UNKNOWN_MODEL = Fault(404)
FATAL: dict[str, Reply] = {"quota": QUOTA, "401": UNAUTHORIZED, "403": FORBIDDEN, "unknown model": UNKNOWN_MODEL}
"""No further request would fare better."""

REPLIES: dict[str, Reply] = {
    "malformed": MALFORMED,
    "prose": PROSE,
    "fenced": FENCED,
    "cut off": CUT_OFF,
    "refusal": REFUSAL,
    "empty": EMPTY,
    "ignored": IGNORED,
    "misspelled": MISSPELLED,
    "foreign": FOREIGN,
    "wrong ids": WRONG_IDS,
    "doubled ids": DOUBLED_IDS,
    "missing ids": MISSING_IDS,
    "no logprobs": NO_LOGPROBS,
}
"""What is wrong with a completion."""
TRANSPORT: dict[str, Reply] = {
    "429 retry-after-ms": BUSY_MS,
    "429 retry-after": BUSY_S,
    "500": SERVER_ERROR,
    "502": BAD_GATEWAY,
    "503": OVERLOADED,
    "hang": HANG,
    "drop": DROP,
    "unsupported 400": UNSUPPORTED,
    "unsupported 500": UNSUPPORTED_500,
}
"""What comes in place of one."""
PASSING = REPLIES | TRANSPORT
"""All but what is fatal."""


class FaultMix:
    """A share of the requests gets one of ``kinds`` each, drawn at random but the same for the same ``seed``.

    :param kinds: names in ``PASSING``, all of them by default, or in ``FATAL``.
    """

    def __init__(self, share: float, kinds: Sequence[str] = tuple(PASSING), seed: int = 0) -> None:
        self.share = share
        self.kinds = kinds
        self.drawn: Counter[str] = Counter()
        """How often each has been sent."""
        self._random = random.Random(seed)

    def draw(self) -> Reply | None:
        """What the next request gets; None for the honest reply. To be called by one thread at a time."""
        if self._random.random() >= self.share:
            return None
        kind = self._random.choice(self.kinds)
        self.drawn[kind] += 1
        return (PASSING | FATAL)[kind]

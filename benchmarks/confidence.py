"""Whether scores keep their word, and what fusing methods gains: calibration error, AUROC, accuracy and coverage.

    python -m benchmarks.confidence [--data DIR] [--draws 20]

BANKING77. The LLM is the pinned classifier of ``benchmarks/classifier.py``: its log-probabilities are its own, its
stated confidence is too high, and the eight nearest reviewed tickets in its prompt sway it a little. No server takes
part: what is measured is the statistics, by the code that labels. A draw takes, at random of what the classifier has
not seen, reviewed tickets, tickets labelled blind, and 2,000 that are used for nothing else. As in a project, whoever
answers knows the reviewed tickets and those labelled blind, but never the ticket itself: for those labelled blind the
weak model is fitted five times, each time without a fifth of them. Figures are means over the draws with their 5th and
95th percentiles, the same on every machine. A draw takes about half a minute.
"""

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import click
import numpy as np
import numpy.typing as npt

from benchmarks import banking77
from benchmarks.banking77 import Banking77, Query
from benchmarks.classifier import ROWS_PER_LABEL, Belief, Classifier
from prelabel.config import Method
from prelabel.core.signals import LOGPROB, STATED, WEAK
from prelabel.core.signals import NEIGHBORS as NEAR
from prelabel.core.types import Choices, Label
from prelabel.quality.deciding import Decision, decide
from prelabel.quality.fitting import EvidenceCase, fit_scoring
from prelabel.quality.fusion import Vote
from prelabel.quality.heard import Heard, Precedent
from prelabel.quality.metrics import auroc, coverage_at, expected_calibration_error, noise_floor
from prelabel.quality.neighbors import NEIGHBORS
from prelabel.quality.scoring import Scoring
from prelabel.quality.similarity import SimilarityIndex
from prelabel.quality.weak_model import Guess, WeakModel

TICKETS = 2000
BLIND = 500
REVIEWS = 2000
SHOWN = 8
"""Examples in a prompt: the default of FEW_SHOT_EXAMPLES."""
ALTERNATIVES = 5
"""Tokens whose log-probabilities a server tells, where it tells of others than the one it chose."""
FOLDS = 5

SINGLE = "single "
BARE = "no log-probabilities: "

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Asked:
    """A ticket, and what everyone says of it who has not seen its label."""

    truth: str
    heard: Heard

    @property
    def llm(self) -> Vote:
        assert self.heard.llm, "the LLM always votes"
        return self.heard.llm

    def is_right(self, labels: Sequence[str]) -> bool:
        return labels[0] == self.truth

    def told_by_llm(self, vote: Vote) -> "Asked":
        """As if the LLM had said something else."""
        return replace(self, heard=replace(self.heard, llm=vote))


@dataclass(frozen=True, slots=True)
class Draw:
    """Tickets labelled blind, and tickets of which nobody has seen the labels."""

    blind: Sequence[Asked]
    tickets: Sequence[Asked]

    def without_logprobs(self) -> "Draw":
        """As at a server that tells none."""
        return Draw(*([_without(ticket, LOGPROB) for ticket in part] for part in (self.blind, self.tickets)))

    def without_alternatives(self) -> "Draw":
        """As at a server that tells of the chosen label only."""
        return Draw(*([_alone(ticket) for ticket in part] for part in (self.blind, self.tickets)))

    def scoring(self, question: Choices, method: Method) -> Scoring:
        """What the tickets labelled blind teach."""
        cases = [
            EvidenceCase(place, {question.name: ticket.heard}, {question.name: (ticket.truth,)})
            for place, ticket in enumerate(self.blind)
        ]
        return fit_scoring([question], cases, method)


class Bench:
    """The data, and the classifier that plays the LLM."""

    def __init__(self, data: Banking77) -> None:
        _, rest = data.first_of_each(ROWS_PER_LABEL)
        self._tickets = [Query(query.text.strip(), query.label) for query in (*rest, *data.test)]
        self._llm = Classifier(data)
        self._opinions = self._llm.probabilities([ticket.text for ticket in self._tickets])
        self.question = Choices("intent", "text", tuple(Label(label, label) for label in data.labels))

    def draw(self, seed: int, reviews: int) -> Draw:
        """:param reviews: reviewed tickets beside those labelled blind."""
        order = list(range(len(self._tickets)))
        random.Random(seed).shuffle(order)  # noqa: S311  a draw is no secret
        known, tickets = order[: reviews + BLIND], order[reviews + BLIND : reviews + BLIND + TICKETS]
        blind = known[reviews:]
        index = SimilarityIndex()
        index.put_all({place: self._tickets[place].text for place in known})
        weak = dict(zip(tickets, self._weak(known, tickets), strict=True))
        for start in range(FOLDS):
            held_out = blind[start::FOLDS]
            away = set(held_out)
            fitted_to = [place for place in known if place not in away]
            weak.update(zip(held_out, self._weak(fitted_to, held_out), strict=True))
        return Draw(self._asked(blind, known, index, weak), self._asked(tickets, known, index, weak))

    def _asked(
        self, places: Sequence[int], known: Sequence[int], index: SimilarityIndex, weak: Mapping[int, Guess | None]
    ) -> list[Asked]:
        found = index.nearest([self._tickets[place].text for place in places], NEIGHBORS + 1)
        near = [
            [((self._tickets[other].label,), similarity) for other, similarity in row if other != place][:NEIGHBORS]
            for place, row in zip(places, found, strict=True)
        ]
        shown = [[labels[0] for labels, _ in row[:SHOWN]] for row in near]
        opinions = self._llm.swayed(self._opinions[np.array(places)], shown)
        by_text: dict[str, set[tuple[int, str]]] = {}
        for place in known:
            by_text.setdefault(self._tickets[place].text, set()).add((place, self._tickets[place].label))
        return [
            Asked(
                self._tickets[place].label,
                Heard(
                    reviewed=_precedent(by_text.get(self._tickets[place].text, set()), place),
                    weak=weak[place],
                    near=around,
                    llm=_llm_vote(self._llm.labels, opinion),
                ),
            )
            for place, opinion, around in zip(places, opinions, near, strict=True)
        ]

    def _weak(self, known: Sequence[int], places: Sequence[int]) -> Sequence[Guess | None]:
        reviewed = [self._tickets[place] for place in known]
        model = WeakModel.fit(self.question, [each.text for each in reviewed], [(each.label,) for each in reviewed])
        return model.guess([self._tickets[place].text for place in places]) if model else [None] * len(places)


Figures = Mapping[str, float]
"""One draw's, by name."""
OWN = (LOGPROB, STATED)
"""The signals that an LLM gives by itself."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    banking77.add_option(options)
    options.add_argument("--draws", type=int, default=20, help="[%(default)s]")
    chosen = options.parse_args()
    data = Banking77.read(chosen.data)
    click.echo("fitting the classifier that answers ...", err=True)
    bench = Bench(data)
    few: list[Figures] = []
    many: list[Figures] = []
    with click.progressbar(range(chosen.draws), label="draws", file=sys.stderr) as seeds:
        for seed in seeds:
            few.append(_score_figures(bench.question, bench.draw(seed, 0)))
            draw = bench.draw(seed, REVIEWS)
            figures = (_score_figures, _gain_figures, _cascade_figures)
            many.append({name: value for part in figures for name, value in part(bench.question, draw).items()})
    _show(few, many)


def _decided(question: Choices, draw: Draw, method: Method) -> list[tuple[Asked, Decision]]:
    """Each ticket with what comes of it, as a project of this method would have it."""
    scoring = draw.scoring(question, method)
    verdicts = [(ticket, decide(question, ticket.heard, scoring, method)) for ticket in draw.tickets]
    return [(ticket, verdict.decision) for ticket, verdict in verdicts if verdict.decision]


def _score_figures(question: Choices, draw: Draw) -> Figures:
    """The LLM's labels by their calibrated scores, and by each signal alone."""
    found: dict[str, float] = {}
    for prefix, part in (("", draw), (BARE, draw.without_logprobs())):
        decided = _decided(question, part, "llm")
        found |= _method_figures(f"{prefix}score", decided)
        signals = [decision.grounds.signals for _, decision in decided]
        right = [ticket.is_right(decision.labels) for ticket, decision in decided]
        for signal in dict.fromkeys(name for each in signals for name in each):
            found |= _figures(f"{prefix}{SINGLE}{signal}", [each.get(signal, 0.0) for each in signals], right)
    return found


def _gain_figures(question: Choices, draw: Draw) -> Figures:
    """The ensemble, and the weak model alone."""
    plain = draw.without_alternatives()
    weak = [(ticket.is_right(guess.labels), guess) for ticket in draw.tickets if (guess := ticket.heard.weak)]
    return {
        **_figures("weak model", [guess.probability for _, guess in weak], [is_right for is_right, _ in weak]),
        **_method_figures("ensemble", _decided(question, plain, "ensemble")),
        **_method_figures("ensemble, no log-probabilities", _decided(question, plain.without_logprobs(), "ensemble")),
        **_method_figures("ensemble, alternatives told", _decided(question, draw, "ensemble")),
    }


def _cascade_figures(question: Choices, draw: Draw) -> Figures:
    """Identical text that a person has reviewed, then the weak model where it is sure, then the LLM."""
    decided = _decided(question, draw, "auto")
    right = [(decision.grounds.stage, ticket.is_right(decision.labels)) for ticket, decision in decided]
    found: dict[str, float] = {}
    for stage in ("reviewed", "weak_model", "llm"):
        part = [is_right for name, is_right in right if name == stage]
        found[f"auto, {stage}: share"] = len(part) / len(draw.tickets)
        found[f"auto, {stage}: accuracy"] = sum(part) / max(1, len(part))
    scored = [(ticket, decision) for ticket, decision in decided if decision.grounds.stage != "reviewed"]
    return {
        **found,
        **_method_figures("auto", scored),
        "auto: accuracy": sum(is_right for _, is_right in right) / len(draw.tickets),
    }


def _method_figures(name: str, decided: Sequence[tuple[Asked, Decision]]) -> Figures:
    right = [ticket.is_right(decision.labels) for ticket, decision in decided]
    return _figures(name, [decision.score.value for _, decision in decided], right)


def _figures(name: str, scores: Sequence[float], right: Sequence[bool]) -> Figures:
    return {
        f"{name}: accuracy": sum(right) / len(right),
        f"{name}: calibration error": expected_calibration_error(scores, right),
        f"{name}: noise floor": noise_floor(scores),
        f"{name}: auroc": auroc(scores, right) or 0.0,
        f"{name}: coverage": coverage_at(scores, right, 0.95),
    }


def _llm_vote(labels: Sequence[str], opinion: Floats) -> Vote:
    best = np.argsort(-opinion, kind="stable")[:ALTERNATIVES].tolist()
    belief = Belief(labels[best[0]], float(opinion[best[0]]))
    signals = {LOGPROB: belief.probability, STATED: belief.confidence}
    return Vote((belief.label,), signals, {labels[place]: float(opinion[place]) for place in best})


def _precedent(reviewed: set[tuple[int, str]], place: int) -> Precedent | None:
    labels = [label for other, label in reviewed if other != place]
    return Precedent((labels[0],), len(labels)) if len(set(labels)) == 1 else None


def _without(ticket: Asked, signal: str) -> Asked:
    signals = {name: value for name, value in ticket.llm.signals.items() if name != signal}
    return ticket.told_by_llm(Vote(ticket.llm.labels, signals))


def _alone(ticket: Asked) -> Asked:
    return ticket.told_by_llm(replace(ticket.llm, probabilities={}))


class Table:
    """Draws' figures, line by line."""

    def __init__(self, draws: Sequence[Figures]) -> None:
        self._draws = draws

    def all(self, name: str) -> Floats:
        """One figure, of each draw."""
        return np.array([draw[name] for draw in self._draws])

    def best_single(self, figure: str, prefix: str = "", of: Sequence[str] = ()) -> str:
        """The signal that has most of a figure in the mean; :param of: some signals instead of all."""
        start = f"{prefix}{SINGLE}"
        names = [name for name in self._draws[0] if name.startswith(start) and name.endswith(f": {figure}")]
        signals = [name.removeprefix(start).removesuffix(f": {figure}") for name in names]
        return max(
            (signal for signal in signals if not of or signal in of),
            key=lambda signal: float(self.all(f"{start}{signal}: {figure}").mean()),
        )

    def line(self, what: str, values: Floats, least: float = -np.inf, most: float = np.inf) -> None:
        """Mean and percentiles, and whether the mean is within bounds where there are any."""
        low, high = np.percentile(values, [5, 95])
        bound = f"at least {least:g}" if np.isfinite(least) else f"at most {most:g}" if np.isfinite(most) else ""
        verdict = f"   {bound:<16}{'yes' if least <= values.mean() <= most else 'NO'}" if bound else ""
        click.echo(f"  {what:<62}{values.mean():7.4f}  [{low:7.4f},{high:7.4f}]{verdict}")

    def scores(self, prefix: str, most: float) -> None:
        """The calibrated scores of the LLM's labels."""
        self.line("calibration error", self.all(f"{prefix}score: calibration error"), most=most)
        self.line("  its noise floor", self.all(f"{prefix}score: noise floor"))
        best = self.best_single("auroc", prefix)
        score = self.all(f"{prefix}score: auroc")
        self.line("AUROC", score)
        self.line(f"  less that of the best single signal, {best}", score - self.single("auroc", best, prefix), -0.01)

    def single(self, figure: str, signal: str, prefix: str = "") -> Floats:
        return self.all(f"{prefix}{SINGLE}{signal}: {figure}")

    def coverages(self, name: str) -> None:
        """A method's coverage against single signals'; bounds are on the quotient of the means."""
        coverage = self.all(f"{name}: coverage")
        self.line(f"{name}: coverage at 95% accuracy", coverage)
        of_llm, of_all = self.best_single("coverage", of=OWN), self.best_single("coverage")
        own = self.single("coverage", of_llm)
        self.line(f"  times that of the LLM's labels by its best own signal, {of_llm}", coverage / own.mean(), 1.1)
        every = self.single("coverage", of_all)
        self.line(f"  times that of the LLM's labels by the best signal of any, {of_all}", coverage / every.mean(), 1.1)
        weak = self.all("weak model: coverage")
        self.line("  times that of the weak model's labels by its own", coverage / weak.mean())


def _show(few: Sequence[Figures], many: Sequence[Figures]) -> None:
    click.echo(f"BANKING77, 77 labels, {len(few)} draws of {TICKETS} tickets; mean [5th, 95th percentile]")
    for reviews, draws in ((0, few), (REVIEWS, many)):
        for prefix, most in (("", 0.035), (BARE, 0.045)):
            click.echo(f"\n{prefix}the LLM's labels, {BLIND} blind labels, {reviews} other reviews")
            Table(draws).scores(prefix, most)
    table = Table(many)
    llm = table.single("accuracy", LOGPROB)
    click.echo(f"\n{BLIND} blind labels, {REVIEWS} other reviews")
    table.line("LLM: accuracy", llm)
    table.line("weak model: accuracy", table.all("weak model: accuracy"))
    for signal in (*OWN, WEAK, NEAR):
        table.line(f"LLM: coverage at 95% accuracy by {signal}", table.single("coverage", signal))
    table.line("LLM: coverage at 95% accuracy by the calibrated score", table.all("score: coverage"))
    for name in ("ensemble", "ensemble, no log-probabilities", "ensemble, alternatives told"):
        click.echo()
        table.line(f"{name}: accuracy", table.all(f"{name}: accuracy"))
        table.line("  less the LLM's", table.all(f"{name}: accuracy") - llm, 0.03)
        table.line(f"{name}: calibration error", table.all(f"{name}: calibration error"))
        table.coverages(name)
    click.echo()
    table.line("auto: requests of the LLM, of those of llm", table.all("auto, llm: share"), most=0.6)
    table.line("auto: accuracy", table.all("auto: accuracy"))
    table.line("  less the LLM's", table.all("auto: accuracy") - llm, 0.0)
    table.line("auto: calibration error of its last two stages", table.all("auto: calibration error"))
    for stage in ("reviewed", "weak_model", "llm"):
        table.line(f"auto, {stage}: share", table.all(f"auto, {stage}: share"))
    for stage in ("weak_model", "llm"):
        table.line(f"auto, {stage}: accuracy", table.all(f"auto, {stage}: accuracy"))


if __name__ == "__main__":
    main()

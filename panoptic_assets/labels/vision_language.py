"""Labels of clusters by a vision language model.

Belongs here: asking about the clusters that are new: the chosen images, the budget, the answers
that are known already. Does not belong here: its configuration (``config``), prompts,
estimates and what an answer says (``questions``), and the endpoint (``resources.labeller``).

An answer is stored, in ``label_answers``, as soon as it comes. So asking again is free, and a run
that was killed goes on where it was.

Long because what is asked, what it may cost and what came of it are one conversation.
"""

import contextlib
import functools
import json
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from panoptic_assets.labels import questions as core
from panoptic_assets.labels.labellers import VisionModel
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.labels.pictures import Pictures
from panoptic_assets.spec.records import digest
from resources.decoding import jpeg
from resources.errors import InputError, message, noted
from resources.labeller import Question, Reply, VisionLLM
from resources.lance import LanceStore
from resources.schemas import SCHEMAS
from resources.source import ImageSource

_TABLE = "label_answers"


@dataclass(frozen=True)
class VisionUsage:
    """What naming some clusters has taken so far; named as in Dagster's metadata."""

    nb_known: int = 0
    """Clusters whose answer was stored already."""
    nb_requests: int = 0
    """HTTP requests, those again included."""
    nb_tokens_in: int = 0
    nb_tokens_out: int = 0
    cost: float | None = None
    """In the currency of the prices; None without prices."""


class Naming(Iterator[Suggestion]):
    """The suggestions for some clusters, each as soon as it is there, and what they cost so far.

    Closing it drops the requests that are in the air.
    """

    def __init__(self, work: "_Work", suggestions: Generator[Suggestion]):
        self._work = work
        self._suggestions = suggestions

    def __next__(self) -> Suggestion:
        return next(self._suggestions)

    @property
    def usage(self) -> VisionUsage:
        """What was asked and counted so far."""
        return self._work.usage

    def close(self) -> None:
        """Ask nothing more."""
        self._suggestions.close()


@dataclass(frozen=True)
class _Asked:
    """Clusters with the same images, of which one answer tells the name."""

    nodes: tuple[str, ...]
    image_ids: list[str]
    """Those that are shown."""


@dataclass(frozen=True)
class VisionQuestions:
    """What a model is to be asked about some clusters, and what is known already."""

    config: VisionModel
    task: str
    llm: VisionLLM
    prices: core.Prices | None
    asked: Mapping[str, _Asked]
    """By the key of the answer."""
    known: Mapping[str, core.Answer]
    told: tuple[str, ...]
    """What there is to say before the first request."""

    @property
    def new(self) -> list[str]:
        """Keys of the answers that are to be asked for."""
        return [key for key in self.asked if key not in self.known]

    @property
    def nb_known(self) -> int:
        """Clusters whose answer is known."""
        return sum(len(self.asked[key].nodes) for key in self.known)

    def estimate(self) -> core.Estimate:
        """What asking costs at most."""
        return core.estimate(
            [len(self.asked[key].image_ids) for key in self.new],
            self.task,
            self.config.model,
            self.config.image_pixels,
            self.config.detail,
            self.config.max_output_tokens,
        )

    def expected(self) -> dict[str, Any]:
        """What asking sends, and takes at most, as plain data.

        Holds model, host, nb_requests, nb_pictures, nb_known (clusters whose answer is stored),
        tokens (of input and output), cost (in the currency of the prices; None without prices) and
        in_clear (whether key and pictures go over the network unencrypted).
        """
        expected = self.estimate()
        return {
            "model": self.config.model,
            "host": self.llm.host,
            "nb_requests": expected.nb_requests,
            "nb_pictures": sum(len(self.asked[key].image_ids) for key in self.new),
            "nb_known": self.nb_known,
            "tokens": expected.tokens,
            "cost": None
            if self.prices is None
            else self.prices.cost(expected.tokens_in, expected.tokens_out),
            "in_clear": self.llm.sends_in_clear,
        }


def find_questions(
    clusters: Sequence[ClusterToLabel],
    config: VisionModel,
    seed: int,
    store: LanceStore,
    backoff: float = 1.0,
) -> VisionQuestions:
    """See what is to be asked about clusters, and that it can be; nothing is asked.

    Args:
        clusters: The clusters; of several with the same images one is asked about.
        config: What to ask of whom.
        seed: Of the draw of the images.
        store: Holds the answers that are known.
        backoff: Seconds before the second request for a cluster, see
            :class:`~resources.labeller.VisionLLM`.

    Raises:
        InputError: The package, the key or the address is missing or cannot be used, or asking
            would or could cost more than it may.
    """
    llm = VisionLLM(
        model=config.model,
        base_url=config.base_url,
        detail=config.detail,
        max_output_tokens=config.max_output_tokens,
        timeout=config.timeout,
        max_retries=config.max_retries,
        concurrency=config.concurrency,
        backoff=backoff,
    )
    task = config.task.strip() or core.TASKS[config.language]
    prices = _prices(config)
    asked: dict[str, _Asked] = {}
    for cluster in clusters:
        chosen = core.chosen_images(cluster.image_ids, config.nb_images, seed)
        key = _cache_key(cluster.image_ids, chosen, seed, task, config)
        before = asked[key].nodes if key in asked else ()
        asked[key] = _Asked((*before, cluster.node), chosen)
    known = _stored_answers(store, asked.keys())
    found = VisionQuestions(config, task, llm, prices, asked, known, ())
    if found.new:
        found = replace(found, told=_checked_budget(found))
        llm.check()
    return found


def ask_for_labels(
    questions: VisionQuestions,
    store: LanceStore,
    source: ImageSource,
    report: Callable[[str], None] = lambda line: None,
) -> Naming:
    """Ask a vision language model for the names of clusters, unless it was asked before.

    Args:
        questions: What to ask.
        store: Takes the answers, and holds the thumbnails that stand for missing files.
        source: The files of the images.
        report: Gets one line on what there is to ask and what it may cost, and one at the end.

    Returns:
        One suggestion for each cluster, in the order in which the answers come; where there is no
        label, the reason. Nothing is asked before the first is taken. Iterating raises InputError
        when the endpoint refuses all questions, such as for a wrong key; what was answered before
        is stored.
    """
    for line in questions.told:
        report(line)
    work = _Work(questions, store, source, report)
    return Naming(work, work.suggestions())


class _Work:
    """One naming of clusters."""

    def __init__(
        self,
        questions: VisionQuestions,
        store: LanceStore,
        source: ImageSource,
        report: Callable[[str], None],
    ):
        self._questions, self._store, self._source, self._report = questions, store, source, report
        self._config, self._prices = questions.config, questions.prices
        self._thumbnails: dict[str, int] = {}
        """For each question, how many of its images are thumbnails."""
        self.usage = VisionUsage(questions.nb_known, cost=0.0 if self._prices else None)

    def suggestions(self) -> Generator[Suggestion]:
        """Those that are known, then the others as they come."""
        asked, new = self._questions, self._questions.new
        for key, known in asked.known.items():
            yield from self._suggested(key, known, None)
        if not new:
            return
        shown = functools.partial(self._shown, Pictures.of(self._store, self._source))
        questions = [Question(key, asked.task, functools.partial(shown, key)) for key in new]
        replies = asked.llm.ask(questions, core.SYSTEM, core.SCHEMA, self._affordable)
        try:
            for reply in replies:
                self._count(reply)
                answer, reason = self._read(reply)
                if answer is not None:
                    self._keep(reply, answer)
                yield from self._suggested(reply.key, answer, reason)
            self._store.optimize(_TABLE)
        finally:
            replies.close()
            self._report(self._told_usage())

    def _affordable(self, tokens_in: int, tokens_out: int) -> bool:
        config = self._config
        if config.budget_tokens is not None and tokens_in + tokens_out >= config.budget_tokens:
            return False
        if config.budget is None or self._prices is None or not tokens_in + tokens_out:
            return True
        return self._prices.cost(tokens_in, tokens_out) < config.budget

    def _shown(self, pictures: Pictures, key: str) -> list[bytes]:
        """The images of a question as JPEGs; thumbnails where the file is missing or changed."""
        side = self._config.image_pixels
        shown, nb_thumbnails = [], 0
        for image_id in self._questions.asked[key].image_ids:
            picture = pictures.from_files(image_id, side)
            if picture is None:
                picture = pictures.from_thumbnail(image_id)
                nb_thumbnails += picture is not None
            if picture is not None:
                shown.append(jpeg(picture, side))
        self._thumbnails[key] = nb_thumbnails
        return shown

    def _count(self, reply: Reply) -> None:
        tokens_in = self.usage.nb_tokens_in + reply.tokens_in
        tokens_out = self.usage.nb_tokens_out + reply.tokens_out
        self.usage = replace(
            self.usage,
            nb_requests=self.usage.nb_requests + reply.nb_requests,
            nb_tokens_in=tokens_in,
            nb_tokens_out=tokens_out,
            cost=None if self._prices is None else self._prices.cost(tokens_in, tokens_out),
        )

    def _read(self, reply: Reply) -> tuple[core.Answer | None, str | None]:
        if reply.text is None:
            return None, reply.reason
        try:
            answer = core.read_answer(reply.text)
        except core.UnusableAnswerError as error:
            return None, str(error)
        nb_thumbnails = self._thumbnails.get(reply.key, 0)
        if nb_thumbnails:
            remark = f"{nb_thumbnails} of the images were shown as thumbnails: no file holds them"
            remark = "; ".join(filter(None, [answer.remark, remark]))
            answer = replace(answer, remark=remark)
        return answer, None

    def _keep(self, reply: Reply, answer: core.Answer) -> None:
        """Store an answer. One commit for each, 8 to 18 ms, as the next one is long in coming."""
        row = {
            "cache_key": reply.key,
            "answer": json.dumps(asdict(answer), ensure_ascii=False),
            "model": self._config.model,
            "host": self._questions.llm.host,
            "prompt": digest(core.SYSTEM, self._questions.task),
            "tokens_in": reply.tokens_in,
            "tokens_out": reply.tokens_out,
            "created_at": datetime.now(UTC),
        }
        self._store.upsert(_TABLE, pa.Table.from_pylist([row], schema=SCHEMAS[_TABLE]))

    def _suggested(
        self, key: str, answer: core.Answer | None, reason: str | None
    ) -> Iterator[Suggestion]:
        for node in self._questions.asked[key].nodes:
            if answer is None:
                yield Suggestion(node, None, None, (), reason, None)
            else:
                yield Suggestion(node, answer.label, None, (), answer.remark, answer.description)

    def _told_usage(self) -> str:
        used = self.usage
        cost = "" if used.cost is None else f", a cost of {used.cost:,.4f}"
        return (
            f"{used.nb_requests:,} requests: {used.nb_tokens_in:,} tokens in and "
            f"{used.nb_tokens_out:,} out, as the endpoint counts them{cost}"
        )


def _cache_key(
    image_ids: Sequence[str], chosen: list[str], seed: int, task: str, config: VisionModel
) -> str:
    return digest(
        sorted(set(image_ids)),
        chosen,
        core.SYSTEM,
        task,
        config.language,
        config.model,
        config.image_pixels,
        config.detail,
        seed,
    )


def _checked_budget(questions: VisionQuestions) -> tuple[str, ...]:
    """What asking takes, in words; raises InputError when it is more than it may be."""
    config, llm = questions.config, questions.llm
    expected = questions.estimate()
    told = noted("at most {tokens:,} tokens", tokens=expected.tokens)
    cost = None
    if questions.prices is not None:
        cost = questions.prices.cost(expected.tokens_in, expected.tokens_out)
        told = noted(
            "at most {tokens:,} tokens, a cost of {cost:,.4f}", tokens=expected.tokens, cost=cost
        )
    needed = message(
        "Asking {model} about {nb_requests:,} clusters takes as many requests and, by "
        "estimate, {told}",
        id="what-asking-takes",
        model=config.model,
        nb_requests=expected.nb_requests,
        told=told,
    )
    if expected.nb_requests > config.max_requests:
        raise InputError(
            "{needed}: more requests than max_requests allows ({max_requests:,}). Label fewer "
            "clusters, or set `max_requests: {nb_requests}`.",
            id="more-than-max-requests",
            needed=needed,
            max_requests=config.max_requests,
            nb_requests=expected.nb_requests,
        )
    if config.budget_tokens is not None and expected.tokens > config.budget_tokens:
        raise InputError(
            "{needed}: more than budget_tokens allows ({budget_tokens:,}); label fewer "
            "clusters or show fewer images (`nb_images`), or raise the limit.",
            id="more-than-budget-tokens",
            needed=needed,
            budget_tokens=config.budget_tokens,
        )
    if config.budget is not None and cost is not None and cost > config.budget:
        raise InputError(
            "{needed}: more than the budget ({budget:,}); label fewer clusters or show fewer "
            "images (`nb_images`), or raise the limit.",
            id="more-than-budget",
            needed=needed,
            budget=config.budget,
        )
    known = f"{questions.nb_known:,} answers are known, " if questions.nb_known else ""
    lines = [
        f"{known}{expected.nb_requests:,} clusters are to be asked about: {told} (images as "
        f"OpenAI counts them), of {config.model} at {llm.host}"
    ]
    if llm.sends_in_clear:
        lines.append(
            f"The key and the images go to {llm.host} unencrypted: use https:// where it "
            "is not in a network of your own"
        )
    return tuple(lines)


def _prices(config: VisionModel) -> core.Prices | None:
    prices = config.price_per_million_input, config.price_per_million_output
    if None not in prices:
        return core.Prices(prices[0] or 0.0, prices[1] or 0.0)
    if prices != (None, None) or config.budget is not None:
        raise InputError(
            "A cost can only be told from both prices: set price_per_million_input and "
            "price_per_million_output, from the endpoint's price list; or limit tokens instead "
            "(budget_tokens).",
            id="cost-needs-both-prices",
        )
    return None


def _stored_answers(store: LanceStore, keys: Container[str]) -> dict[str, core.Answer]:
    """What is known already, cleaned as today's answers are.

    What is no name by today's rules is asked again, and what is answered then takes its place.
    """
    rows = store.read(_TABLE, ["cache_key", "answer"])
    found = {}
    for key, text in zip(rows["cache_key"].to_pylist(), rows["answer"].to_pylist(), strict=True):
        if key in keys:
            stored = json.loads(text)
            with contextlib.suppress(core.UnusableAnswerError):
                found[key] = core.checked(**stored)
    return found

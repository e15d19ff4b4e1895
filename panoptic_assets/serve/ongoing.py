"""Acts that were asked for over the API: their threads, and what they have said so far.

Belongs here: how many go on at once, how long their ends are kept, and who is told what meanwhile.
Does not belong here: what an act does (``serve.api_acts``), and HTTP (``serve.api``).

An act is carried out in a thread of its own, which mostly waits for the worker. What it says is a
list of numbered events, so that who lost the line asks for those after the last one it has.

Long because an act is spoken to by its thread, by those who listen and by who cancels it at once.
"""

import asyncio
import logging
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from panoptic_assets.orchestration.worker_link import ActCancelledError
from panoptic_assets.serve.json_documents import write_document
from panoptic_assets.spec.languages import Language
from panoptic_assets.spec.text import brief
from resources.errors import InputError, Message, PlainError, UnavailableError, message, text_of

T = TypeVar("T")

State = Literal["preparing", "running", "done", "failed", "cancelled"]

AT_ONCE = 8
"""Acts that go on; they write one after the other, and the rest of one is waiting."""
LONG_AT_ONCE = 4
"""Of those that take long, each of which has a process of its own, of 0.3 GB and more, also while
it waits; the others are left to what takes seconds, which so is never refused for them."""
KEPT = 500
"""Acts that have ended, and can still be asked for."""
ACT_ID = "Panoptic-Act"
"""Header of a request for an act: the id that it shall have."""
ID_PATTERN = "[0-9a-f]{16}"
"""Of such an id."""
_KEPT_BYTES = 64 * 2**20
_BYTES_OF_ONE = 4 * 2**20
"""Of what one act has said, and of its result; a longer result is left out."""
_PROGRESS_EVERY = 0.2
"""Seconds between two events that tell how far it is."""
_ALIVE_EVERY = 15.0
"""Seconds after which a line that is silent gets a comment: proxies close those at 30 to 60."""


class ActsBusyError(UnavailableError):
    """As many acts go on as may."""


@dataclass(frozen=True)
class Told:
    """An event of an act."""

    number: int
    """From 1, in the order in which they happened."""
    name: str
    """``line``, ``progress``, ``run``, ``done`` or ``failed``."""
    data: bytes
    """A JSON object, on one line."""

    def as_event(self) -> bytes:
        """The event as a stream of server-sent events has it (HTML, section 9.2)."""
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (self.number, self.name.encode(), self.data)


@dataclass
class OngoingAct:
    """One act, while it goes on and after; it is the reporter of what carries it out."""

    name: str
    author: str
    takes_long: bool = False
    language: Language = field(default_factory=Language)
    """Of who asked for it."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: State = "preparing"
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    dagster_run_ids: list[str] = field(default_factory=list)
    result: bytes | None = None
    """JSON, once it is done."""
    error: Message | None = None
    """Why it was refused or failed."""
    error_text: str = ""
    refusal: InputError | None = None
    """The same, if it was refused before any Dagster run was made."""
    cancelled: bool = False
    """Whether somebody asked to cancel it."""
    undo: list[str] = field(default_factory=list)
    """Ids of what it did, by which each is undone; known at its end."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._told: list[Told] = []
        self._bytes = 0
        self._number = 0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._cancel: Callable[[], object] | None = None
        self._last_progress = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self.ended_at is not None

    @property
    def size(self) -> int:
        """Bytes that are kept of it."""
        return self._bytes + len(self.result or b"")

    def summary(self) -> dict[str, Any]:
        """What a list of acts shows of it."""
        return {
            "act": self.id,
            "name": self.name,
            "author": self.author,
            "state": self.state,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "dagster_run_ids": list(self.dagster_run_ids),
            "undo": list(self.undo),
            "error": self._error_document() if self.error is not None else None,
        }

    # What `Project` calls.

    def tell(self, text: str, style: str = "") -> None:
        """A line about the work."""
        self._say("line", {"text": self.language.note(text), "style": style})

    def track(
        self, items: Iterable[T], total: int, what: str, count: Callable[[T], int] = lambda _: 1
    ) -> Iterator[T]:
        """Pass items on, and show how far they are."""
        done = 0
        for item in items:
            done += count(item)
            now = time.monotonic()
            if done >= total or now - self._last_progress >= _PROGRESS_EVERY:
                self._last_progress = now
                self._say("progress", {"what": what, "done": done, "total": total})
            yield item

    def accepted(self, run_id: str) -> None:
        """It was prepared, so it is not refused.

        Args:
            run_id: Of the Dagster run that was made for it; empty as long as there is none.
        """
        if self.state == "preparing":
            self.state = "running"
        if run_id:
            self.dagster_run_ids.append(run_id)
            self._say("run", {"dagster_run_id": run_id})
        else:
            self._wake()

    # What the server calls.

    def cancelled_by(self, cancel: Callable[[], object]) -> None:
        """Say how it is cancelled from now on.

        Raises:
            KeyboardInterrupt: Somebody asked for that already.
        """
        with self._lock:
            self._cancel = cancel
            if self.cancelled:
                raise KeyboardInterrupt

    def cancel(self) -> None:
        """Ask it to stop; of one that has ended nothing changes."""
        with self._lock:
            if self.has_ended:
                return
            self.cancelled = True
            cancel = self._cancel
        if cancel is not None:
            cancel()

    async def answered(self) -> None:
        """Wait until a Dagster run was made for it, or it has ended."""
        async with _Listening(self) as happened:
            while self.state == "preparing":
                await happened.wait()
                happened.clear()

    def told_after(self, number: int) -> list[Told]:
        """Its events with a greater number."""
        with self._lock:
            return [told for told in self._told if told.number > number]

    async def events(self, after: int = 0) -> AsyncIterator[bytes]:
        """Its events as they happen, for a stream of server-sent events, until it has ended.

        Args:
            after: The number of the last one that is known.
        """
        async with _Listening(self) as happened:
            while True:
                happened.clear()
                has_ended = self.has_ended  # before looking: the last event comes before the end
                for told in self.told_after(after):
                    after = told.number
                    yield told.as_event()
                if has_ended:
                    return
                try:
                    await asyncio.wait_for(happened.wait(), _ALIVE_EVERY)
                except TimeoutError:
                    yield b":\n\n"

    def _say(self, name: str, content: dict[str, Any]) -> None:
        self._add(name, write_document(content))
        self._wake()

    def _add(self, name: str, data: bytes) -> None:
        with self._lock:
            self._number += 1
            # Of how far it is, only the newest matters.
            if name == "progress" and self._told and self._told[-1].name == "progress":
                self._bytes -= len(self._told.pop().data)
            self._told.append(Told(self._number, name, data))
            self._bytes += len(data)
            while self._bytes > _BYTES_OF_ONE and len(self._told) > 1:
                self._bytes -= len(self._told.pop(0).data)

    def _wake(self) -> None:
        with self._lock:
            waiting = list(self._waiting)
        for loop, happened in waiting:
            try:
                loop.call_soon_threadsafe(happened.set)
            except RuntimeError:  # the server has ended
                continue

    def _end(self, state: State, name: str, data: bytes) -> None:
        self._add(name, data)
        self.state = state
        self.ended_at = datetime.now(UTC)
        with self._lock:
            self._cancel = None  # it holds a project with all that it has read: 1 MB an act
        self._wake()

    def done(self, result: Any) -> None:
        """It is done.

        Args:
            result: What it gives; None is kept of what is too long. A `change` that has its message
                beside it, `said`, is in the language in which it was asked for.
        """
        if isinstance(result, dict) and "said" in result:
            result = {**result, "change": self.language.message(result["said"])}
        written = write_document(result)
        self.result = written if len(written) <= _BYTES_OF_ONE else b"null"
        undo = write_document(self.undo)
        self._end("done", "done", b'{"result":%s,"undo":%s}' % (self.result, undo))

    def failed(self, error: PlainError) -> None:
        """It was refused, or failed."""
        if self.state == "preparing" and isinstance(error, InputError):
            self.refusal = error
        self.error, self.error_text = error.message, str(error)
        self._end("failed", "failed", write_document({"error": self._error_document()}))

    def stopped(self) -> None:
        """It was cancelled."""
        self.error = message(
            "{name} was stopped: nothing is half done. What had been stored before that counts; "
            "the history says whether something was.",
            id="act-stopped",
            name=self.name,
        )
        self.error_text = text_of(self.error)
        self._end("cancelled", "failed", write_document({"error": self._error_document()}))

    def _error_document(self) -> dict[str, Any]:
        assert self.error is not None  # noqa: S101
        return error_document(self.error, self.error_text, self.language)


class _Listening:
    """Wakes a coroutine when an act has said something."""

    def __init__(self, act: OngoingAct):
        self._act = act

    async def __aenter__(self) -> asyncio.Event:
        self._entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._act._lock:
            self._act._waiting.add(self._entry)
        return self._entry[1]

    async def __aexit__(self, *_: object) -> None:
        with self._act._lock:
            self._act._waiting.discard(self._entry)


def error_document(said: Message, text: str, language: Language) -> dict[str, Any]:
    """A message as the API gives it: its id, template and values, and its text.

    Args:
        said: The message.
        text: Its text in English.
        language: Of the text that is given.
    """
    return {**said, "text": language.error(said, text)}


class Ongoing:
    """The acts of one server.

    Args:
        at_once: How many may go on.
        kept: How many are kept that have ended.
        long_at_once: How many of them may take long.
    """

    def __init__(self, at_once: int = AT_ONCE, kept: int = KEPT, long_at_once: int = LONG_AT_ONCE):
        self._at_once = at_once
        self._long_at_once = long_at_once
        self._kept = kept
        self._acts: OrderedDict[str, OngoingAct] = OrderedDict()
        self._lock = threading.Lock()

    def start(
        self,
        name: str,
        author: str,
        carry_out: Callable[[OngoingAct], Any],
        takes_long: bool = False,
        language: Language = Language(),  # noqa: B008
        act_id: str = "",
    ) -> OngoingAct:
        """Carry an act out in a thread.

        Args:
            name: What it is called.
            author: Who acts.
            carry_out: Does it, tells the act what happens, and returns its result.
            takes_long: Whether it usually takes minutes.
            language: In which who asked is told why it failed.
            act_id: The id that who asks has given it, to cancel it before the answer; one that is
                not of 16 hexadecimal digits, or is another act's, is passed over.

        Raises:
            ActsBusyError: As many go on as may.
        """
        act = OngoingAct(name, author, takes_long, language)
        with self._lock:
            going_on = [other for other in self._acts.values() if not other.has_ended]
            nb_long = sum(other.takes_long for other in going_on)
            if takes_long and nb_long >= self._long_at_once:
                raise ActsBusyError(
                    "{at_once} acts that take long go on already: wait until one of them has "
                    "ended.",
                    id="long-acts-busy",
                    at_once=self._long_at_once,
                )
            if len(going_on) >= self._at_once:
                raise ActsBusyError(
                    "{at_once} acts go on already: wait until one of them has ended.",
                    id="acts-busy",
                    at_once=self._at_once,
                )
            if re.fullmatch(ID_PATTERN, act_id) and act_id not in self._acts:
                act.id = act_id
            self._acts[act.id] = act
        threading.Thread(
            target=self._carry_out, args=(act, carry_out), name=f"act {name}", daemon=True
        ).start()
        return act

    def _carry_out(self, act: OngoingAct, carry_out: Callable[[OngoingAct], Any]) -> None:
        try:
            act.done(carry_out(act))
        except (ActCancelledError, KeyboardInterrupt):
            act.stopped()
        except InputError as error:
            act.failed(error)
        except BaseException as error:  # whatever it is, who waits for the end is told
            logging.getLogger(__name__).exception("The act %s failed.", act.name)
            act.failed(
                PlainError(
                    "{name} failed, for a reason that is none of yours ({reason}): the log of the "
                    "server has more.",
                    id="act-failed",
                    name=act.name,
                    reason=brief(f"{type(error).__name__}: {error}"),
                )
            )
        finally:
            self._forget_old()

    def _forget_old(self) -> None:
        with self._lock:
            ended = [act for act in self._acts.values() if act.has_ended]
            size = sum(act.size for act in ended)
            while ended and (len(ended) > self._kept or size > _KEPT_BYTES):
                oldest = ended.pop(0)
                size -= oldest.size
                del self._acts[oldest.id]

    def forget(self, act: OngoingAct) -> None:
        """Keep nothing of an act that has ended: it was refused, and who asked knows."""
        with self._lock:
            self._acts.pop(act.id, None)

    def get(self, act_id: str) -> OngoingAct:
        """An act by its id.

        Raises:
            InputError: There is none, or none any more.
        """
        with self._lock:
            found = self._acts.get(act_id)
        if found is None:
            raise InputError(
                "There is no act {act_id!r} here, or none any more: {kept} are kept after their "
                "end, until the server stops. All are in Dagster's list of runs.",
                id="no-ongoing-act",
                act_id=act_id[:40],
                kept=self._kept,
            )
        return found

    def newest(self, number: int) -> list[OngoingAct]:
        """The acts that were started last, the newest first."""
        with self._lock:
            return [*reversed(self._acts.values())][:number]

    def close(self) -> None:
        """Ask all that go on to stop."""
        for act in self.newest(len(self._acts)):
            act.cancel()

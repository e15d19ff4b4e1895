"""The line to the warm worker: where it listens, what is said, and asking it.

Belongs here: the client's side, for commands, the web server and Dagster's run launcher, without
Dagster. Does not belong here: the worker itself (``panoptic_assets.serve.worker``).

A request and what comes of it are JSON, a line each, on a Unix socket of its own. The socket lies
in a folder that only this user may enter, since a socket's path may have no more than 107 bytes and
not every file system of a project has sockets; ``worker.json`` in the Dagster instance's folder
says where, and while a worker is being started only that. A client that closes the connection
before the end of its act cancels it.

Requests, each with one key that says what is asked:

- ``act``: an asset, with ``key``, ``given``, ``tags``, ``seen`` and ``author``;
- ``job``: a job of one op, with ``op`` and ``given``;
- ``run``: the id of a Dagster run that was created elsewhere, and which the worker may decline;
- ``search``: arguments of ``Project.search``;
- ``check``: those of ``Project.check``, for what needs a model: asset, key and given;
- ``cancel``: the id of a Dagster run;
- ``knows``: nothing; whether it lives, and which Dagster runs it has.

Answers: ``accepted``, ``declined``, ``line`` with ``style``, ``progress`` (what, done, total),
``run`` (the id of the Dagster run that was made), and at the end one of ``done``, ``failed`` (a
message), ``cancelled`` and ``restarting`` (why; nothing was done, ask again). A worker that ends
before the first word of an answer has done nothing either.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from panoptic_assets.spec.reporting import Reporter
from resources.errors import InputError, is_message

MAX_LINE = 64 * 2**20
"""Bytes of a message: a search may have 100,000 images."""
_SECONDS_TO_CONNECT = 5.0
_SECONDS_TO_RESTART = 60.0
_SECONDS_WITHOUT_ADDRESS = 3.0
"""After which nobody replaces a worker that has ended: whoever does writes so at once."""
_UNANSWERED = 3
"""Workers that may end before they have answered; a request that kills one should not kill many."""

Message = dict[str, Any]

_GOING: Message = {"restarting": "it was just going"}


class WorkerLostError(InputError):
    """The worker's process ended amid an act."""


class ActCancelledError(InputError):
    """Somebody cancelled the act; nothing of it is half done."""


def address_file(home: Path) -> Path:
    """Where a worker of a Dagster instance says where it listens."""
    return home / "worker.json"


class WorkerLink:
    """One connection to the worker of a Dagster instance.

    Args:
        connection: To its socket.
    """

    def __init__(self, connection: socket.socket):
        self._socket = connection
        self._file = connection.makefile("rb")

    @classmethod
    def to(cls, home: Path) -> "WorkerLink | None":
        """Connect; None where no worker listens that this user may ask.

        Args:
            home: The folder of the Dagster instance.
        """
        try:
            where = json.loads(address_file(home).read_bytes())["socket"]
            # Whoever may write here may not have the requests of others sent to a program of his.
            if Path(where).stat().st_uid != os.geteuid():
                return None
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Nothing there, or no such sockets on this system; or somebody has edited the file.
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        try:
            connection.settimeout(_SECONDS_TO_CONNECT)
            connection.connect(where)
            connection.settimeout(None)
        except OSError:
            connection.close()
            return None
        return cls(connection)

    def send(self, message: Message) -> None:
        """Send one message."""
        self._socket.sendall(encoded(message))

    def messages(self) -> Iterator[Message]:
        """What comes, until the other side closes."""
        yield from read_messages(self._file)

    def answer(self, timeout: float) -> Message | None:
        """The next message; None where none comes in time (seconds), or the worker has gone."""
        self._socket.settimeout(timeout)
        try:
            return next(self.messages(), None)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Hang up; from another thread, this ends :meth:`messages` as well."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self._socket.close()

    def __enter__(self) -> "WorkerLink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def encoded(message: Message) -> bytes:
    """A message as it is sent."""
    return json.dumps(message).encode() + b"\n"


def read_messages(stream: Any) -> Iterator[Message]:
    """The messages of a stream of bytes, until it ends or holds something else."""
    while True:
        try:
            line = stream.readline(MAX_LINE)
        except (ConnectionError, ValueError):  # closed meanwhile
            return
        if not line.endswith(b"\n"):
            return
        try:
            message = json.loads(line)
        except ValueError:
            return
        if isinstance(message, dict):
            yield message


class Errand:
    """One request to the worker, from the first word to the end.

    Args:
        home: The folder of the Dagster instance.
        request: What is asked.
        reporter: Is told what the act says, and shown how far it is; also, where it has a method
            ``accepted``, that the act was prepared, and then the id of its Dagster run.
        patience: Seconds to wait for a worker that is just replaced.
    """

    def __init__(self, home: Path, request: Message, reporter: Reporter, patience: float = 0.0):
        self._home, self._request, self._reporter = home, request, reporter
        self._patience = patience
        self._link: WorkerLink | None = None
        self._unanswered = 0
        self.cancelled = False

    def carried_out(self) -> Message | None:
        """Wait until it is done; what came of it. None where there is no worker: nothing was done.

        Raises:
            InputError: The act was refused, or its Dagster run failed.
            ActCancelledError: It was cancelled.
            WorkerLostError: The worker ended before the act did.
        """
        known = address_file(self._home).exists()
        deadline, seen = time.monotonic() + self._patience, time.monotonic()
        restarting = ""
        while True:
            if self.cancelled:
                raise _cancelled()
            link = WorkerLink.to(self._home)
            now = time.monotonic()
            if link is not None:
                with link:
                    self._link = link
                    if self.cancelled:  # before there was a line that could be closed
                        raise _cancelled()
                    answer = self._end(link)
                if "restarting" not in answer:
                    return answer
                if not restarting:
                    deadline, known = now + _SECONDS_TO_RESTART, True
                    restarting = answer["restarting"]
                    self._reporter.tell(f"The worker starts anew: {restarting} …")
                seen = now
            elif address_file(self._home).exists():
                seen = now
            if not known or now > deadline or now > seen + _SECONDS_WITHOUT_ADDRESS:
                return None
            time.sleep(0.2)

    def cancel(self) -> None:
        """Cancel it, from another thread."""
        self.cancelled = True
        if self._link is not None:
            self._link.close()

    def _end(self, link: WorkerLink) -> Message:
        run_id = ""
        try:
            link.send(self._request)
        except OSError:
            return _GOING
        messages = link.messages()
        waiting: Message | None = None
        answered = False
        while True:
            message = waiting or next(messages, None)
            waiting = None
            if message is None:
                if self.cancelled:
                    raise _cancelled()
                if not answered:
                    self._unanswered += 1
                    if self._unanswered < _UNANSWERED:
                        return _GOING
                raise WorkerLostError(
                    "The worker that carried this out has ended{run}: nothing is half done. Look "
                    "whether it was done before that (`panoptic-assets history`), and do it again "
                    "if not: `panoptic-assets ui` starts another worker.",
                    id="worker-ended",
                    run=f" (Dagster run {run_id})" if run_id else "",
                )
            answered = True
            if "line" in message:
                self._reporter.tell(message["line"], message.get("style", ""))
            elif "progress" in message:
                waiting = self._track(message, messages)
            elif "accepted" in message or "run" in message:
                run_id = message.get("run", run_id)
                if accepted := getattr(self._reporter, "accepted", None):
                    accepted(run_id)
            elif "failed" in message:
                raise restored(message)
            elif "cancelled" in message:
                raise _cancelled()
            elif "done" in message or "restarting" in message or "declined" in message:
                return message

    def _track(self, first: Message, messages: Iterator[Message]) -> Message | None:
        """Show how far the act is; the message that is of something else."""
        what, _, total = first["progress"]
        other: Message | None = None

        def increments() -> Iterator[int]:
            nonlocal other
            before = 0
            message: Message | None = first
            while message is not None:
                named, done, _ = message.get("progress", ("", 0, 0))
                if named != what or done < before:
                    other = message
                    return
                if done > before:
                    yield done - before
                before = done
                message = next(messages, None)

        for _ in self._reporter.track(increments(), total, what, lambda number: number):
            pass
        return other


def restored(message: Message) -> InputError:
    """The error that another process has told of."""
    what = message.get("message")
    text = str(message["failed"])
    if isinstance(what, dict) and is_message(what):
        return InputError.restored(what, text)  # type: ignore[arg-type]
    return InputError("{reason}", id="run-failed", reason=text)


def _cancelled() -> ActCancelledError:
    return ActCancelledError(
        "It was cancelled: nothing is half done. What had been stored before that counts; "
        "`panoptic-assets history` says whether something was.",
        id="act-cancelled",
    )

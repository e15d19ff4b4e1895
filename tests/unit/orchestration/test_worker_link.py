"""The client's side of the line to the warm worker, against a server that follows a script."""

import json
import os
import socket
import stat
import threading
import time

import pytest

from panoptic_assets.orchestration import worker_link
from panoptic_assets.orchestration.worker_link import (
    ActCancelledError,
    Errand,
    WorkerLink,
    WorkerLostError,
    address_file,
    encoded,
    read_messages,
)
from panoptic_assets.spec.reporting import Callbacks
from resources.errors import InputError


class Scripted:
    """Listens as a worker does, and says to each client what the next script has."""

    def __init__(self, home, *scripts):
        self.asked = []
        self._where = str(home / "s")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self._where)
        self._listener.listen()
        address_file(home).write_text(json.dumps({"socket": self._where, "pid": os.getpid()}))
        self._thread = threading.Thread(target=self._serve, args=(scripts,), daemon=True)
        self._thread.start()

    def _serve(self, scripts):
        for script in scripts:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as stream:
                self.asked.append(next(read_messages(stream), None))
                for message in script:
                    if message is WAIT:
                        stream.read(1)
                    elif isinstance(message, bytes):
                        connection.sendall(message)
                    else:
                        connection.sendall(encoded(message))
        self._listener.close()  # whoever connects now would wait for ever

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.join(10)


WAIT = object()
"""Until the client hangs up."""


class Heard(Callbacks):
    """Keeps what it is told, in the order of it."""

    def __init__(self, tell=lambda text: None):
        self.all = []
        super().__init__(
            lambda text: (self.all.append(("line", text)), tell(text)),
            lambda what, done, total: self.all.append((what, done, total)),
        )

    def accepted(self, run_id):
        self.all.append(("accepted", run_id))


def forget(home):
    address_file(home).unlink()


def errand(home, heard=None, request=None):
    return Errand(home, request or {"act": "tags"}, heard or Heard())


def test_what_the_worker_says_is_passed_on_and_its_end_is_the_answer(tmp_path):
    heard = Heard()
    script = [
        {"accepted": True},
        {"line": "Loading …", "style": ""},
        {"run": "1234"},
        {"progress": ["images", 2, 10]},
        {"progress": ["images", 10, 10]},
        {"line": "✓ tags", "style": ""},
        {"done": {"run_id": "1234", "metadata": {}}},
    ]
    with Scripted(tmp_path, script) as server:
        answer = errand(tmp_path, heard).carried_out()
    assert answer == {"done": {"run_id": "1234", "metadata": {}}}
    assert server.asked == [{"act": "tags"}]
    assert heard.all == [
        ("accepted", ""),
        ("line", "Loading …"),
        ("accepted", "1234"),
        ("images", 2, 10),
        ("images", 10, 10),
        ("line", "✓ tags"),
    ]


def test_progress_of_one_thing_after_another_is_told_apart(tmp_path):
    heard = Heard()
    script = [
        {"progress": ["reading", 3, 3]},
        {"progress": ["embedding", 1, 3]},
        {"progress": ["embedding", 3, 3]},
        {"progress": ["embedding", 1, 2]},
        {"done": {}},
    ]
    with Scripted(tmp_path, script):
        errand(tmp_path, heard).carried_out()
    assert heard.all == [
        ("reading", 3, 3),
        ("embedding", 1, 3),
        ("embedding", 3, 3),
        ("embedding", 1, 2),
    ]


def test_a_refusal_comes_back_with_its_id_and_values(tmp_path):
    error = InputError("There is no {what}.", id="no-such-thing", what="lamp")
    with (
        Scripted(tmp_path, [{"failed": str(error), "message": error.message}]),
        pytest.raises(InputError) as caught,
    ):
        errand(tmp_path).carried_out()
    assert caught.value.message == error.message
    assert str(caught.value) == "There is no lamp."


@pytest.mark.parametrize("message", [None, {}, {"id": "x"}, "text", 5])
def test_a_failure_without_a_message_is_told_by_its_text(tmp_path, message):
    with (
        Scripted(tmp_path, [{"failed": "OSError: no room.", "message": message}]),
        pytest.raises(InputError) as caught,
    ):
        errand(tmp_path).carried_out()
    assert (caught.value.id, str(caught.value)) == ("run-failed", "OSError: no room.")


@pytest.mark.parametrize("first", [{"accepted": True}, {"run": "1234"}, {"line": "Loading …"}])
@pytest.mark.parametrize("then", [b"", b"{", b"nonsense\n", b"\xff\xfe\n"])
def test_a_worker_that_ends_or_says_nonsense_amid_an_act_is_lost(tmp_path, first, then):
    with Scripted(tmp_path, [first, then]) as server, pytest.raises(WorkerLostError) as caught:
        errand(tmp_path).carried_out()
    assert ("1234" in str(caught.value)) == (first == {"run": "1234"})
    assert len(str(caught.value).splitlines()) == 1
    assert len(server.asked) == 1, "what may have been done is not done twice"


def test_a_worker_that_ends_before_it_answers_has_done_nothing_and_the_next_is_asked(tmp_path):
    heard = Heard()
    with Scripted(tmp_path, [], [b"{"], [{"done": {}}]) as server:
        assert errand(tmp_path, heard).carried_out() == {"done": {}}
    assert server.asked == [{"act": "tags"}] * 3
    assert heard.all == [("line", "The worker starts anew: it was just going …")]


def test_a_request_at_which_worker_after_worker_ends_is_given_up(tmp_path):
    with Scripted(tmp_path, [], [], []) as server, pytest.raises(WorkerLostError):
        errand(tmp_path).carried_out()
    assert len(server.asked) == 3


def test_a_worker_that_restarts_is_asked_again_and_says_so_once(tmp_path):
    heard = Heard()
    restarting = [{"restarting": "its code has changed"}]
    with Scripted(tmp_path, restarting, restarting, [], [{"done": {}}]) as server:
        assert errand(tmp_path, heard).carried_out() == {"done": {}}
    assert server.asked == [{"act": "tags"}] * 4
    assert heard.all == [("line", "The worker starts anew: its code has changed …")]


@pytest.mark.parametrize("left", ["an address", "nothing"])
def test_a_worker_that_nobody_replaces_is_not_waited_for(tmp_path, monkeypatch, left):
    """Whether its address stays, as after a kill of all, or was taken away by who stopped it."""
    here, gone = (0.5, 60) if left == "an address" else (60, 0.5)
    monkeypatch.setattr(worker_link, "_SECONDS_TO_RESTART", here)
    monkeypatch.setattr(worker_link, "_SECONDS_WITHOUT_ADDRESS", gone)
    with Scripted(tmp_path, [{"restarting": "it was told to stop"}]):
        asking = errand(tmp_path, Heard(lambda _: left == "nothing" and forget(tmp_path)))
        looks, sleep = [], time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: (looks.append(seconds), sleep(seconds)))
        assert asking.carried_out() is None
    assert len(looks) < 20


def test_who_cancels_hangs_up(tmp_path):
    class Cancelling(Heard):
        def accepted(self, run_id):
            threading.Thread(target=asking.cancel).start()

    asking = errand(tmp_path, Cancelling())
    with Scripted(tmp_path, [{"run": "1234"}, WAIT]), pytest.raises(ActCancelledError):
        asking.carried_out()


def test_what_was_cancelled_before_it_was_asked_is_not_asked(tmp_path):
    asking = errand(tmp_path)
    asking.cancel()
    with pytest.raises(ActCancelledError):
        asking.carried_out()


def test_what_the_worker_says_was_cancelled_was_cancelled(tmp_path):
    with Scripted(tmp_path, [{"cancelled": True}]), pytest.raises(ActCancelledError):
        errand(tmp_path).carried_out()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\xff",
        b"null",
        b"[]",
        b"5",
        b'{"starting": true}',
        b'{"socket": null}',
        b'{"socket": 5}',
        b'{"socket": ["a"]}',
        b'{"socket": ""}',
        b'{"socket": "."}',
        b'{"socket": "/none"}',
        b'{"socket": "a\\u0000b"}',
        b'{"socket": "\\ud800"}',
        b"[" * 100_000,
        json.dumps({"socket": "/" + "x" * 300}).encode(),
    ],
)
def test_an_address_that_is_forged_or_stale_is_as_none(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    address_file(tmp_path).write_bytes(content)
    assert WorkerLink.to(tmp_path) is None
    assert errand(tmp_path).carried_out() is None


def test_without_an_address_there_is_no_worker(tmp_path):
    assert WorkerLink.to(tmp_path) is None
    assert errand(tmp_path).carried_out() is None


def test_a_socket_whose_process_has_died_is_as_none(tmp_path):
    with Scripted(tmp_path):
        pass
    assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)
    assert WorkerLink.to(tmp_path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another user")
def test_a_socket_of_another_user_is_asked_nothing(tmp_path):
    with Scripted(tmp_path) as server:
        os.chown(tmp_path / "s", 12345, -1)
        assert WorkerLink.to(tmp_path) is None
    assert server.asked == []


def test_messages_end_where_something_else_begins():
    class Stream:
        def __init__(self, *lines):
            self._lines = iter(lines)

        def readline(self, _):
            return next(self._lines, b"")

    assert list(read_messages(Stream(b'{"a": 1}\n', b"[]\n", b'{"b": 2}\n', b"{\n", b"{}\n"))) == [
        {"a": 1},
        {"b": 2},
    ]
    assert list(read_messages(Stream(b'{"a": 1}\n', b'{"b": 2}'))) == [{"a": 1}]


def test_an_act_that_is_cancelled_while_the_line_is_made_is_never_asked_for(tmp_path):
    """No moment of an act is one at which nobody hears that it is cancelled."""
    with Scripted(tmp_path, []) as worker:
        where = address_file(tmp_path)
        content = where.read_bytes()
        where.unlink()
        os.mkfifo(where)  # whose reader waits
        asking = errand(tmp_path)

        def cancel():
            with where.open("wb") as file:
                asking.cancel()
                file.write(content)

        threading.Thread(target=cancel, daemon=True).start()
        with pytest.raises(ActCancelledError):
            asking.carried_out()
    assert worker.asked == [None]

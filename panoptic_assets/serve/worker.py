"""The warm worker: one process that has everything loaded, and carries out one act after the other.

Belongs here: taking requests, their order, processes of their own for what takes long, and ending
well. Does not belong here: what is said on the line (``orchestration.worker_link``), and who starts
the worker (``cli.ui_process``).

Long because it is one process: what its threads share (queue, act in progress, children) is seen
whole here, with the two others that keep it: who replaces it, and who does one long act.

A divide is 0.4 CPU seconds here and 5 in a process that has to import everything first. Each
connection has a thread, which prepares what is asked, so that what cannot be done is refused at
once; the main thread executes, so that signals reach what it does. What takes long goes to a
process of its own (``--long``): the same program with requests on its standard input. It stays for
a while: a refresh is four such acts, and to start is 4 CPU seconds.

It ends when its standard input does, so also when whoever started it was killed; then, and on a
signal, the act in progress is cancelled, as Dagster cancels it. Nothing of an act is half done
whenever the process ends: what acts commit, they commit whole.
"""

import ctypes
import importlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, TypeVar

from panoptic_assets.acts import ACTS, QUICK_JOBS, check_seen
from panoptic_assets.orchestration.worker_link import (
    Message,
    address_file,
    encoded,
    read_messages,
)
from panoptic_assets.serve.json_documents import plain
from panoptic_assets.spec.text import brief
from resources.errors import InputError
from resources.project_folder import ProjectFolder, dagster_home, find, write_file

if TYPE_CHECKING:
    import dagster as dg

    from panoptic_assets.orchestration.acting import Plan
    from panoptic_assets.orchestration.launching import Launcher
    from panoptic_assets.project import Project

_SECONDS_TO_CANCEL = 20.0
"""After which an act that does not end is ended with the process, which is replaced: libraries that
compute for long do not look at signals."""
_SECONDS_BETWEEN_INTERRUPTS = 2.0
_SECONDS_BETWEEN_PROGRESS = 0.2
_SECONDS_BETWEEN_LOOKS = 0.3
"""At a pool that another process holds."""
_SECONDS_BETWEEN_SETTLING = 2.0
"""Tries to tell Dagster how a run ended."""
_SECONDS_FOR_LOCK = 10.0
"""Which an earlier worker has, whose act does not end at once."""
_SECONDS_FOR_CHILDREN = 8.0
"""To end when the worker does, which is killed after ten."""
_SECONDS_TO_STAY = 20.0
"""Of a process that has carried out what takes long, for the next such act."""
_SECONDS_TO_SEND = 5
"""After which whoever asked counts as gone: a command that was suspended (Ctrl-Z) reads nothing,
and others wait meanwhile."""

_M_ARENA_MAX = -8
"""glibc's number of that setting."""
_ARENAS = 2

_NO_ROOM = re.compile(r"LanceError.*\(os error (28|122)\)", re.DOTALL)
"""In what Lance says of a full disk, and of a quota that is used up."""
_STOPPED = "it was told to stop"
"""Why nothing is taken any more."""
_STARTING = json.dumps({"starting": True}).encode()
"""What the address file says while there is no worker, but soon."""

T = TypeVar("T")
Emit = Callable[[Message], None]


@dataclass(eq=False)
class Request:
    """One request that waits for the main thread."""

    asked: Message
    emit: Emit
    pool: str | None
    plan: "Plan | None" = None
    run_id: str = ""
    """Of its Dagster run, once there is one."""
    cancelled: bool = False
    running: bool = False
    """Whether the main thread may be interrupted for it: not while its Dagster run is created,
    which would then be there without an end."""
    told_waiting: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


class Relay:
    """Tells whoever has asked for the act in progress what it says."""

    def __init__(self) -> None:
        self.emit: Emit = _nobody
        self.accepted: Callable[[str], None] = lambda run_id: None

    def tell(self, text: str, style: str = "") -> None:
        """A line about the work."""
        self.emit({"line": text, "style": style})

    def track(
        self, items: Iterable[T], total: int, what: str, count: Callable[[T], int] = lambda _: 1
    ) -> Iterator[T]:
        """Pass items on, and say five times a second how far they are."""
        done, last = 0, 0.0
        for item in items:
            done += count(item)
            now = time.monotonic()
            if now - last >= _SECONDS_BETWEEN_PROGRESS or done >= total:
                last = now
                self.emit({"progress": [what, done, total]})
            yield item


def _nobody(message: Message) -> None:
    pass


@dataclass(eq=False)
class Child:
    """A process of its own, for what takes long."""

    process: "subprocess.Popen[bytes]"
    says: Iterator[Message]
    run_id: str = ""
    """Of the Dagster run that it carries out."""
    leave: threading.Timer | None = None
    """Dismisses it, once it has carried out something and stays."""

    def hang_up(self) -> None:
        """Let it end, and cancel what it does."""
        _hang_up(self.process)


class Carrier:
    """Carries requests out in this process, one after the other.

    Args:
        project: The project; acts of it are carried out here.
        relay: The reporter that the project was made with.
        instance: Its Dagster instance.
    """

    def __init__(self, project: "Project", relay: Relay, instance: "dg.DagsterInstance"):
        self.project = project
        self.instance = instance
        self.launcher: Launcher = project.launcher(instance)
        self._relay = relay

    def prepared(self, asked: Message) -> "tuple[Plan | None, str | None, bool]":
        """The plan of a request, the pool that it needs, and whether it takes long; only reads.

        Raises:
            InputError: It cannot be done.
        """
        if "search" in asked:
            return None, None, False
        context = self.project.context.now()
        check_seen(context.store, asked.get("seen") or {})
        if "job" in asked:
            return None, self.launcher.pool_of_job(asked["job"]), asked["job"] not in QUICK_JOBS
        act = ACTS[asked["act"]]
        pool = self.launcher.pool_of(act.asset)
        if act.asset == "images":  # to list a folder of a network may take minutes
            return None, pool, True
        plan = act.prepare(context, asked.get("key") or "", asked.get("given") or {})
        return plan, pool, act.takes_long(plan)

    def checked(self, asked: Message) -> Message:
        """What an act would do; only reads.

        Raises:
            InputError: It would be refused.
        """
        found = self.project.check(asked["asset"], asked.get("key"), **asked.get("given") or {})
        told: Message = plain(found)
        return told

    def holder_of(self, pool: str | None) -> str | None:
        """The Dagster run that holds a pool; None where it is free."""
        from panoptic_assets.orchestration.instance import holder_of

        if pool is None:
            return None
        try:
            return holder_of(self.instance, pool)
        except Exception:  # what ails the database is said by the act
            return None

    def wait_told(self, holder: str, request: Request) -> None:
        """Say once to whoever has asked what an act waits for."""
        from panoptic_assets.orchestration.instance import waits_for

        if not request.told_waiting:
            request.told_waiting = True
            request.emit({"line": waits_for(holder, request.pool or ""), "style": ""})

    def catch_up(self) -> Request | None:
        """The act by which the tags become what their log says; None where they are.

        They are not where a process was killed between the two.
        """
        from panoptic_assets.spec import tag_log
        from panoptic_assets.tags.table import read_log, tags_are

        store = self.project.context.now().store
        log = read_log(store)
        if not log or tags_are(store, tag_log.replay([entry.event for entry in log])):
            return None
        return Request({"act": "tags"}, _nobody, self.launcher.pool_of("tags"))

    def take(self, run_id: str) -> None:
        """Tell Dagster that this worker has a run."""
        from panoptic_assets.orchestration.instance import WORKER_TAG

        self.instance.add_run_tags(run_id, {WORKER_TAG: socket.gethostname()})

    def cancelling(self, run_id: str) -> None:
        """Tell Dagster that a person cancels a run, which else counts as failed."""
        import dagster as dg

        run = self.instance.get_run_by_id(run_id)
        if run is not None and run.status == dg.DagsterRunStatus.STARTED:
            self.instance.report_run_canceling(run)

    def settle(self, run_id: str, cancelled: bool) -> None:
        """End a run in Dagster that this process has done with, if Dagster does not know it."""
        from panoptic_assets.orchestration.runs import end

        run = self.instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            end(self.instance, run, "The worker could not record how this run ended.", cancelled)

    def carry_out(self, request: Request) -> None:
        """Carry a request out, and tell how it ended.

        Raises:
            KeyboardInterrupt: It was interrupted.
        """
        self._relay.emit = request.emit

        def accepted(run_id: str) -> None:
            request.run_id = run_id
            request.running = True
            request.emit({"run": run_id})
            if request.cancelled:
                raise KeyboardInterrupt

        self._relay.accepted = accepted
        request.running = "run" in request.asked or "search" in request.asked
        end: Message = {"cancelled": True}
        try:
            end = {"done": self._done(request)}
        except InputError as error:
            end = _failed(error)
        except Exception as error:
            if _NO_ROOM.search(str(error)):
                end = _failed(_disk_is_full(self.project.layout.store))
            else:
                # A fault of the program is in the log of the Dagster run with its stack trace.
                traceback.print_exc(file=sys.__stderr__)
                text = brief(f"{type(error).__name__}: {error}")
                end = {"failed": f"{text}. The log of the Dagster run has the stack trace."}
        finally:
            request.running = False
            self._relay.emit = _nobody
            request.emit(end)

    def _done(self, request: Request) -> Message:
        asked = request.asked
        if "search" in asked:
            found = self.project.search(
                **asked["search"], report=lambda text: request.emit({"line": text, "style": ""})
            )
            return {"table": found.to_pydict()}
        if "run" in asked:
            self._run_of_others(request)
            return {}
        versions = asked.get("seen") or {}
        if request.plan is None:  # a plan is checked where it is made anew
            check_seen(self.project.context.now().store, versions)
        if "job" in asked:
            made = self.launcher.run_op(asked["job"], asked["op"], asked["given"], asked["tags"])
            return {"metadata": made}
        materialized = self.launcher.materialize(
            asked["act"],
            asked.get("key"),
            asked.get("given") or {},
            request.plan,
            asked.get("tags"),
            lambda store: check_seen(store, versions),
        )
        return {"run_id": materialized.run_id, "metadata": materialized.metadata}

    def _run_of_others(self, request: Request) -> None:
        run = self.instance.get_run_by_id(request.run_id)
        if run is None or run.is_finished:
            return
        job, asset = self.launcher.job_of(run), request.asked.get("act")
        # Dagster writes each of its events there, where nobody has asked for them.
        with Path(os.devnull).open("w") as nobody, redirect_stderr(nobody):
            self.launcher.execute(self.instance, job, run, request.plan, asset, raises=False)

    def of_run(self, run_id: str) -> Message | None:
        """The request that a Dagster run of the Launchpad or a sensor stands for.

        None where it is none of one quick act of this project.
        """
        from panoptic_assets.orchestration import insides
        from panoptic_assets.orchestration.launching import CODE_LOCATION
        from panoptic_assets.spec.resolution import given_config
        from panoptic_assets.upkeep.new_runs import asked_of

        run = self.instance.get_run_by_id(run_id)
        if run is None or run.is_finished or insides.module_of(run) != CODE_LOCATION:
            return None
        if run.job_name in QUICK_JOBS:
            return {"run": run_id, "job": run.job_name}
        if (new := asked_of(run.job_name, run.run_config)) is not None:
            return {"run": run_id, **dict(zip(("act", "key", "given"), new, strict=True))}
        assets = self.launcher.assets_of(run)
        if len(assets) != 1 or not ACTS[assets[0]].quick:
            return None
        key = run.tags.get(insides.PARTITION_TAG)
        given = given_config(run.run_config, assets[0])
        return {"run": run_id, "act": assets[0], "key": key, "given": given}


def _failed(error: InputError) -> Message:
    return {"failed": str(error), "message": error.message}


def _disk_is_full(store: str) -> InputError:
    return InputError(
        "There is no space left for the store {store}: nothing is half done, and what was "
        "committed is kept. Make room on its disk, then do it again.",
        id="store-without-space",
        store=store,
    )


class Worker:
    """Takes requests on its socket, and carries them out one after the other.

    Args:
        project: The project.
    """

    def __init__(self, project: ProjectFolder):
        self._folder = project
        self._home = dagster_home(project)
        self._state = _state_of(project, self._home)
        self._preparing = threading.Lock()
        self._changed = threading.Condition()
        self._queue: list[Request] = []
        self._current: Request | None = None
        self._children: list[Child] = []
        """Processes that carry out what takes long."""
        self._idle: list[Child] = []
        """Those that have done so, and stay for a while."""
        self._places: dict[str | None, threading.Lock] = {}
        """One for each pool: held by who has such a process."""
        self._withdrawn: set[str] = set()
        self._telling = threading.Lock()
        """Held by whoever tells Dagster that an act is cancelled, or how it ended."""
        self._taking = 0
        """Requests that are taken, and neither queued nor in a process of their own yet."""
        self._stopping = False
        self._restarting = ""
        self._left = False
        """Whether the main thread takes nothing from the queue any more."""

    def run(self) -> int:
        """Serve until told to stop; the exit status."""
        from filelock import Timeout

        from panoptic_assets.orchestration.instance import worker_lock

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        self._look_out_for_sigterm()
        _share_arenas()
        lock = worker_lock(self._home)
        try:
            with lock.acquire(timeout=_SECONDS_FOR_LOCK), _carrier(self._home) as carrier:
                self._carrier = carrier
                threading.Thread(target=self._leash, daemon=True).start()
                with self._listening():
                    _load_what_acts_need()
                    carrier.launcher.prepare_jobs(act.asset for act in ACTS.values() if act.quick)
                    with suppress(Exception):  # whoever edits tags next is told what ails them
                        if late := carrier.catch_up():
                            self._put(late)
                    while (request := self._next()) is not None:
                        try:
                            self._carry_out(request)
                        except KeyboardInterrupt:  # late, of an act that was over
                            self._end(request)
        except KeyboardInterrupt:
            pass
        except Timeout:
            print(f"Another worker has {self._home}.", file=sys.stderr)
            return 1
        finally:
            self._left = True
            self._ask_again(_STOPPED)
            with self._changed:
                self._stopping = self._stopping or not self._restarting  # no child stays any more
                children = [*self._children, *self._idle]
            for child in children:
                child.hang_up()
            deadline = time.monotonic() + _SECONDS_FOR_CHILDREN
            for child in children:  # whoever replaces this process takes what is left for failed
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, deadline - time.monotonic()))
        return RESTART if self._restarting and not self._stopping else 0

    # Taking requests: threads of connections

    @contextmanager
    def _listening(self) -> Iterator[None]:
        folder = Path(tempfile.mkdtemp(prefix="panoptic-"))
        where = folder / "worker"
        place = address_file(self._home)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                listener.bind(str(where))
                listener.listen(64)
                content = {"socket": str(where), "pid": os.getpid()}
                write_file(place, json.dumps(content).encode())
                threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
                yield
            finally:
                with suppress(OSError, ValueError):
                    if json.loads(place.read_bytes()).get("pid") == os.getpid():
                        if self._restarting and not self._stopping:
                            write_file(place, _STARTING)
                        else:
                            place.unlink()
                shutil.rmtree(folder, ignore_errors=True)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            sending = threading.Lock()
            limit = struct.pack("ll", _SECONDS_TO_SEND, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

            def emit(message: Message) -> None:
                with sending:
                    try:
                        connection.sendall(encoded(message))
                    except OSError:  # whoever asked has gone, or does not read
                        with suppress(OSError):
                            connection.shutdown(socket.SHUT_RDWR)

            asked = next(read_messages(stream), None)
            if asked is None:
                return
            try:
                self._answer(asked, emit, stream)
            except InputError as error:
                emit(_failed(error))
            except Exception as error:
                traceback.print_exc(file=sys.__stderr__)
                emit({"failed": f"{brief(f'{type(error).__name__}: {error}')}."})

    def _answer(self, asked: Message, emit: Emit, stream: IO[bytes]) -> None:
        if "knows" in asked:
            emit({"pid": os.getpid(), "runs": self._known_runs()})
        elif "cancel" in asked:
            emit({"cancelling": self._cancel_run(asked["cancel"])})
        elif "withdraw" in asked:
            emit({"withdrawn": self._withdraw(asked["withdraw"])})
        elif reason := self._going():
            emit({"restarting": reason})
        else:
            taken = ExitStack()
            taken.callback(self._taken)
            with taken:
                if "run" in asked:
                    self._take_run(asked["run"], emit)
                    return
                if "check" in asked:
                    with self._preparing:
                        emit({"done": self._carrier.checked(asked["check"])})
                    return
                with self._preparing:
                    plan, pool, long = self._carrier.prepared(asked)
                emit({"accepted": True})
                if long:
                    del plan
                    self._give_away(asked, emit, stream, pool, taken.close)
                    return
                request = Request(asked, emit, pool, plan)
                self._put(request)
            # Until the client hangs up, which cancels, or its act has ended.
            threading.Thread(target=self._watch, args=(request, stream), daemon=True).start()
            request.ended.wait()

    def _watch(self, request: Request, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):  # closed here, since the act has ended
            stream.read(1)
        self._cancel(request)

    def _take_run(self, run_id: str, emit: Emit) -> None:
        """Take a Dagster run that was created elsewhere, or decline it."""
        asked = self._carrier.of_run(run_id)
        plan, pool, long = None, None, False
        if asked is not None:
            # What it refuses is said in the run, which fails: Dagster knows of it already.
            with self._preparing, suppress(InputError):
                plan, pool, long = self._carrier.prepared(asked)
        holder = self._carrier.holder_of(pool)
        with self._changed:
            mine = self._current.run_id if self._current is not None else ""
        # Where another process may hold the pool for long, its own waits as well as this one: here
        # it would be one that is starting for too long, which Dagster takes for failed.
        if asked is None or long or (holder is not None and holder != mine):
            emit({"declined": True})
            return
        request = Request(asked, _nobody, pool, plan, run_id)
        with self._changed:
            if run_id in self._withdrawn:
                self._withdrawn.discard(run_id)
                return
            self._carrier.take(run_id)
            self._put(request)
        emit({"accepted": True})

    def _withdraw(self, run_id: str) -> bool:
        """Do not carry out a Dagster run; False if it was begun."""
        with self._changed:
            if self._current is not None and self._current.run_id == run_id:
                return False
            waiting = [request for request in self._queue if request.run_id == run_id]
            for request in waiting:
                self._queue.remove(request)
            if not waiting:
                self._withdrawn.add(run_id)
            return True

    def _put(self, request: Request) -> None:
        with self._changed:
            self._queue.append(request)
            self._changed.notify_all()
        if self._left:  # while it was prepared
            self._ask_again(_STOPPED)

    def _going(self) -> str:
        """Why nothing is taken any more; empty where a request is: :meth:`_taken` ends that."""
        with self._changed:
            if self._stopping:
                return _STOPPED
            # What a process of its own does may take hours, and would end with this one.
            if (
                not (self._restarting or self._children)
                and _state_of(self._folder, self._home) != self._state
            ):
                while self._taking and not self._children:
                    self._changed.wait()
                if not self._children:
                    self._restarting = "its code or the project's settings have changed"
                    self._changed.notify_all()
            if not self._restarting:
                self._taking += 1
            return self._restarting

    def _taken(self) -> None:
        with self._changed:
            self._taking -= 1
            self._changed.notify_all()

    def _known_runs(self) -> list[str]:
        with self._changed:
            mine = [*self._queue, *([self._current] if self._current else [])]
            found = [one.run_id for one in mine] + [child.run_id for child in self._children]
            return [run_id for run_id in found if run_id]

    # Cancelling

    def _cancel_run(self, run_id: str) -> bool:
        with self._changed:
            mine = [*self._queue, *([self._current] if self._current else [])]
            found = next((request for request in mine if request.run_id == run_id), None)
            child = next((one for one in self._children if one.run_id == run_id), None)
            if child is not None:
                child.hang_up()  # here, so that :meth:`_keep` sees it
                return True
        return found is not None and self._cancel(found)

    def _cancel(self, request: Request) -> bool:
        """Cancel a request, which may have ended: then False."""
        with self._changed:
            if request.ended.is_set():
                return False
            request.cancelled = True
            waited = request in self._queue
            if waited:
                self._queue.remove(request)
            elif not request.running:
                return False
        if waited:
            request.emit({"cancelled": True})
            request.ended.set()
            self._settle(request.run_id, cancelled=True)
            return True

        def interrupt() -> None:
            waited = 0.0
            while waited < _SECONDS_TO_CANCEL or not request.running:
                with self._telling:  # the next act is not begun meanwhile, which it would hit
                    if request.ended.is_set():
                        return
                    if request.running:
                        with suppress(Exception):  # what ails the database is said by the act
                            self._carrier.cancelling(request.run_id)
                        os.kill(os.getpid(), signal.SIGINT)
                # Again, since what is raised in a callback of a library may be lost.
                if request.ended.wait(_SECONDS_BETWEEN_INTERRUPTS):
                    return
                waited += _SECONDS_BETWEEN_INTERRUPTS
            os._exit(1)

        threading.Thread(target=interrupt, daemon=True).start()
        return True

    def _on_signal(self, number: int, _: object) -> None:
        """Outside of Dagster's runs, which have handlers of their own while they go."""
        if number == signal.SIGTERM:
            self._stopping = True
            raise KeyboardInterrupt
        # A cancelled act may have ended before its signal came.
        if self._current is not None and self._current.cancelled and self._current.running:
            raise KeyboardInterrupt

    def _look_out_for_sigterm(self) -> None:
        """Stop after the act that a SIGTERM interrupts: Dagster's runs take it for their own."""
        mine, python = socket.socketpair()
        python.setblocking(False)
        signal.set_wakeup_fd(python.detach(), warn_on_full_buffer=False)

        def look() -> None:
            while numbers := mine.recv(64):
                self._stopping = self._stopping or signal.SIGTERM in numbers

        threading.Thread(target=look, daemon=True).start()

    def _leash(self) -> None:
        """Stop when the standard input ends: whoever started this process is gone, or says so."""
        while os.read(sys.stdin.fileno(), 1):
            pass
        self._stopping = True
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_SECONDS_TO_CANCEL)
        os._exit(1)

    # Carrying out: the main thread

    def _next(self) -> Request | None:
        """The first request whose pool is free; None when this process shall end."""
        while True:
            with self._changed:
                if self._restarting:
                    self._ask_again(self._restarting)
                if self._stopping or (self._restarting and not self._queue):
                    return None
                if not self._queue:
                    self._changed.wait()
                    continue
                waiting = list(self._queue)
            for request in waiting:
                busy = self._carrier.holder_of(request.pool)
                if busy is None:
                    with self._changed:
                        if request in self._queue:  # not cancelled meanwhile
                            self._queue.remove(request)
                            self._current = request
                            return request
                else:
                    self._carrier.wait_told(busy, request)
            with self._changed:
                self._changed.wait(_SECONDS_BETWEEN_LOOKS)

    def _ask_again(self, reason: str) -> None:
        """Let those who wait for their answer ask the next worker; Dagster's launcher does not."""
        with self._changed:
            for request in [one for one in self._queue if "run" not in one.asked]:
                self._queue.remove(request)
                request.emit({"restarting": reason})
                request.ended.set()

    def _carry_out(self, request: Request) -> None:
        try:
            self._carrier.carry_out(request)
        except (KeyboardInterrupt, SystemExit):
            if not request.cancelled:
                self._stopping = True
        self._end(request)

    def _end(self, request: Request) -> None:
        with self._telling:  # after who cancels it has told Dagster so: what comes last counts
            self._settle(request.run_id, request.cancelled)
            with self._changed:
                self._current = None
            request.ended.set()

    def _settle(self, run_id: str, cancelled: bool) -> None:
        """End a run in Dagster that is over, if need be as soon as its database takes that.

        Until then it has its slot of the pool, and no other act of its kind begins.
        """
        if run_id:
            _as_soon_as_can_be(lambda: self._carrier.settle(run_id, cancelled))

    def _give_away(
        self,
        asked: Message,
        emit: Emit,
        stream: IO[bytes],
        pool: str | None,
        taken: Callable[[], None],
    ) -> None:
        """Have a process of its own carry out what takes long; one at a time for each pool.

        Args:
            asked: The request.
            emit: Takes what the process says.
            stream: Ends when whoever asked has hung up.
            pool: The pool that it needs.
            taken: Is called when there is a process.
        """
        gone = threading.Event()
        children: list[Child] = []

        def watch() -> None:
            with suppress(OSError, ValueError):
                stream.read(1)
            gone.set()
            for child in children:
                child.hang_up()

        threading.Thread(target=watch, daemon=True).start()
        with self._changed:
            place = self._places.setdefault(pool, threading.Lock())
        if not place.acquire(blocking=False):
            emit({"line": "Waiting for another act that takes long …", "style": ""})
            # Each process would hold what it has loaded, 0.3 GB and more, while it waits.
            while not place.acquire(timeout=_SECONDS_BETWEEN_LOOKS):
                if gone.is_set() or self._stopping:
                    emit({"cancelled": True})
                    return
        try:
            end = self._in_a_process(asked, emit, gone, children, taken)
        finally:
            place.release()
        emit(end)  # after which the next act of a refresh is asked for, and finds the place free

    def _in_a_process(
        self,
        asked: Message,
        emit: Emit,
        gone: threading.Event,
        children: list[Child],
        taken: Callable[[], None],
    ) -> Message:
        """Give a request to a process of its own, pass on what it says, and return its last word.

        Args:
            asked: The request.
            emit: Takes what the process says.
            gone: Set when whoever asked has hung up.
            children: Gets the process as long as it does this, and is hung up then.
            taken: Is called when there is a process.
        """
        child = self._child()
        taken()
        children.append(child)
        with suppress(OSError, ValueError):  # it has died, or was hung up, which is said below
            assert child.process.stdin is not None  # noqa: S101
            child.process.stdin.write(encoded(asked))
            child.process.stdin.flush()
        if gone.is_set():
            child.hang_up()
        end: Message = {}
        said = False
        for message in child.says:
            said = True
            if "accepted" in message:
                continue  # told already
            if "run" in message:
                with self._changed:
                    child.run_id = message["run"]
            if ENDS & message.keys():
                end = message
                break
            emit(message)
        children.clear()  # before it is asked whether whoever asked has hung up
        run_id = child.run_id
        if "done" not in end or not self._keep(child, gone):
            child.hang_up()
            child.process.wait()
            with self._changed:
                self._children.remove(child)
        if not said and child.leave is not None and not gone.is_set():
            # It was killed while it stayed, as when memory was short, and has begun nothing.
            return self._in_a_process(asked, emit, gone, children, taken)
        self._settle(run_id, "cancelled" in end or gone.is_set())
        died = "The process that carried this out has died: nothing is half done."
        return end or {"failed": died}

    def _child(self) -> Child:
        """A process for what takes long: one that stays, or a new one."""
        with self._changed:
            while self._idle:
                child = self._idle.pop()
                if child.leave is not None:
                    child.leave.cancel()
                if child.process.poll() is None:
                    child.run_id = ""
                    self._children.append(child)
                    return child
            process = subprocess.Popen(
                [*COMMAND, "--long"],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            child = Child(process, read_messages(process.stdout))
            self._children.append(child)
            return child

    def _keep(self, child: Child, gone: threading.Event) -> bool:
        """Let a process stay for a while; False if it was hung up, or all end."""
        with self._changed:
            assert child.process.stdin is not None  # noqa: S101
            if child.process.stdin.closed or gone.is_set() or self._stopping or self._restarting:
                return False
            self._children.remove(child)
            self._idle.append(child)
            child.leave = threading.Timer(_SECONDS_TO_STAY, self._dismiss, [child])
            child.leave.daemon = True
            child.leave.start()
        return True

    def _dismiss(self, child: Child) -> None:
        """End a process that has stayed long enough."""
        with self._changed:
            if child not in self._idle:  # it was given something to do
                return
            self._idle.remove(child)
        child.hang_up()
        child.process.wait()


RESTART = 75
"""Exit status of a worker that wants to be started again, with the code of now."""
ENDS = frozenset({"done", "failed", "cancelled"})
COMMAND = [sys.executable, "-m", "panoptic_assets.serve.worker"]
_SECONDS_TO_PROVE = 20.0
"""A worker that ends sooner than that after its start cannot work, as it seems."""
_DEATHS_TOLD = 3
_SECONDS_BETWEEN_TRIES = 60.0
"""After so many such deaths: what is wrong, such as code that is just edited, may be over then."""


@contextmanager
def kept_worker(
    home: Path, instance: "dg.DagsterInstance", tell: Callable[[str, str], None]
) -> Iterator[None]:
    """A worker that is replaced when it dies; it ends with this context.

    Args:
        home: The folder of the Dagster instance.
        instance: The instance, where runs that died with it are ended.
        tell: Is told of it, in a colour.
    """
    from panoptic_assets.orchestration.instance import WORKER_TAG, lost
    from panoptic_assets.orchestration.runs import end

    ending = threading.Event()
    current: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        died = 0
        while not ending.is_set():
            started = time.monotonic()
            # Whoever can wait for it does, rather than load everything.
            write_file(address_file(home), _STARTING)
            # Where this package lies: no module of the working directory may take its place.
            process = subprocess.Popen(
                COMMAND, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE
            )
            current[:] = [process]
            if ending.is_set():
                _hang_up(process)
            status = process.wait()
            with suppress(Exception):  # a database that fails now is said by whoever acts next
                for run in lost(instance, WORKER_TAG):
                    died_with_it = partial(end, instance, run, "The worker of this run has died.")
                    _as_soon_as_can_be(died_with_it)
            if ending.is_set() or status == RESTART:
                continue
            died = died + 1 if time.monotonic() - started < _SECONDS_TO_PROVE else 0
            if died <= _DEATHS_TOLD:
                tell(f"The worker died (status {status}) and is replaced.", "yellow")
            if died == _DEATHS_TOLD:
                tell(
                    "It dies again and again, the lines above may say why: it is tried once a "
                    "minute, and commands and Dagster runs start processes of their own meanwhile.",
                    "red",
                )
            if died >= _DEATHS_TOLD:
                # Nobody need wait for it.
                address_file(home).unlink(missing_ok=True)
                ending.wait(_SECONDS_BETWEEN_TRIES)

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ending.set()
        for process in current:
            _hang_up(process)
        keeper.join(_SECONDS_TO_CANCEL / 2)
        for process in current:
            with suppress(OSError):
                process.kill()
        keeper.join(5)
        address_file(home).unlink(missing_ok=True)


def _as_soon_as_can_be(tell_dagster: Callable[[], object]) -> None:
    """Tell Dagster something now, or as soon as its database takes it, in a thread.

    Where the disk is full, or another process has a lock for long, it is tried again.
    """

    def told() -> bool:
        with suppress(Exception):
            tell_dagster()
            return True
        return False

    def later() -> None:
        while not told():
            time.sleep(_SECONDS_BETWEEN_SETTLING)

    if not told():
        threading.Thread(target=later, daemon=True).start()


def _hang_up(child: "subprocess.Popen[bytes]") -> None:
    with suppress(OSError, ValueError):
        assert child.stdin is not None  # noqa: S101
        child.stdin.close()


def _state_of(project: ProjectFolder, home: Path) -> list[tuple[str, int, int]]:
    """What a worker was started with: the code, and the settings of the project and of Dagster."""
    code = Path(__file__).parents[2]
    rooms = code / "panoptic_assets", code / "resources"
    files = sorted(path for room in rooms for path in room.rglob("*.py"))
    found = []
    for path in [*files, project.settings_file, home / "dagster.yaml"]:
        with suppress(OSError):
            status = path.stat()
            found.append((str(path), status.st_mtime_ns, status.st_size))
    return found


def _share_arenas() -> None:
    """Have all threads of this process allocate from the same few arenas of glibc.

    By default there are eight for each core, and each request's thread leaves free pieces in one
    of them, which no other thread uses: in 125 edits of tags what was free but kept grew from 18 MB
    to 30, and from 11 to 13 with two. Processes of their own have glibc's default, since many
    threads compute there. Other libraries of C have no such setting.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def _load_what_acts_need() -> None:
    """Import what the first act of each kind would: two CPU seconds for a divide."""
    for act in ACTS.values():
        if act.quick:
            importlib.import_module(f"panoptic_assets.{act.prepare_place.partition(':')[0]}")
            act.config  # noqa: B018
    for name in ("sklearn.cluster", "sklearn.metrics"):
        importlib.import_module(name)


@contextmanager
def _carrier(home: Path) -> "Iterator[Carrier]":
    """What carries acts out, on an instance that was opened when nobody else may create it."""
    from filelock import Timeout

    from panoptic_assets.orchestration import insides
    from panoptic_assets.orchestration.instance import instance_lock, open_instance
    from panoptic_assets.project import Project

    relay = Relay()
    project = Project(reporter=relay, worker="none")
    lock = instance_lock(home)
    with suppress(Timeout):  # a command that has held it so long has created the database
        lock.acquire(timeout=5)
    with open_instance(home, insides.NO_COMPUTE_LOGS) as instance:
        lock.release()
        yield Carrier(project, relay, instance)


def _long() -> int:
    """Carry out the requests on the standard input, one after the other.

    What it says of them goes to the standard output. It ends with the input, also amid an act.
    """
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer

    def emit(message: Message) -> None:
        with suppress(OSError):
            os.write(answers, encoded(message))

    requests: SimpleQueue[Message | None] = SimpleQueue()
    taken: list[tuple[Carrier, Request]] = []
    left = threading.Event()
    """Nobody asks for anything any more, and what is done is cancelled."""

    def leash() -> None:
        # Not `sys.stdin`: Python aborts at its end while a thread reads that.
        for message in read_messages(os.fdopen(os.dup(sys.stdin.fileno()), "rb")):
            requests.put(message)
        requests.put(None)
        left.set()
        if not taken:  # it starts, prepares an act, or waits for one
            os.kill(os.getpid(), signal.SIGINT)
        waited = 0.0
        while waited < _SECONDS_TO_CANCEL:
            pause = _SECONDS_BETWEEN_LOOKS
            for carrier, request in list(taken):
                request.cancelled = True
                if request.running:
                    with suppress(Exception):  # what ails the database is said by the act
                        carrier.cancelling(request.run_id)
                    os.kill(os.getpid(), signal.SIGINT)
                    # Again, since what is raised in a callback of a library may be lost.
                    pause = _SECONDS_BETWEEN_INTERRUPTS
            time.sleep(pause)
            waited += pause
        os._exit(1)

    def carry_out(carrier: Carrier, asked: Message) -> None:
        plan, pool, _ = carrier.prepared(asked)
        request = Request(asked, emit, pool, plan)
        taken.append((carrier, request))
        while (busy := carrier.holder_of(pool)) is not None and not request.cancelled:
            carrier.wait_told(busy, request)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        if request.cancelled or left.is_set():
            raise KeyboardInterrupt
        carrier.carry_out(request)

    try:
        threading.Thread(target=leash, daemon=True).start()
        asked = requests.get()
        if asked is None:
            return 0
        with _carrier(dagster_home(find())) as carrier:
            while asked is not None:
                try:
                    carry_out(carrier, asked)
                except InputError as error:
                    emit(_failed(error))
                taken.clear()
                asked = requests.get()
    except InputError as error:
        emit(_failed(error))
    except KeyboardInterrupt:
        emit({"cancelled": True})
    return 0


def main() -> None:
    """The worker's process."""
    sys.exit(_long() if "--long" in sys.argv[1:] else Worker(find()).run())


if __name__ == "__main__":
    main()

"""The process that ``panoptic-assets ui`` starts: it serves until its input ends.

Belongs here: what is opened before anything is served, what is said then, and what is ended after.
Does not belong here: the command and what it takes (``cli.serve``), what is served
(``panoptic_assets.serve.webserver``), and to whom (``panoptic_assets.serve.guard``).

What is to be served stands in the first line of the input: everybody on a machine sees the
arguments of a process, and what it starts inherits its environment, so the token is in neither.
"""

import atexit
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from html import escape
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from panoptic_assets.cli.terminal import say, tell
from panoptic_assets.spec.text import counted, printable
from resources.errors import InputError

if TYPE_CHECKING:
    import dagster as dg

    from panoptic_assets.orchestration import insides

CANNOT = 2
"""Exit code where what was asked cannot be done."""
TOKEN_VARIABLE = "PANOPTIC_TOKEN"  # noqa: S105
"""Environment variable of the token that somebody gives."""

_CODE_LOCATION = "panoptic_assets.definitions"
_SECONDS_TO_OPEN = 30
"""In which a browser has read the file that holds the address with the token."""


@dataclass(frozen=True)
class Opening:
    """How a project is served."""

    host: str
    allowed_hosts: tuple[str, ...]
    token: str | None = field(repr=False)
    """What is asked for at the door; None: nothing."""
    is_own_token: bool
    """Whether somebody gave it, who knows it, so that it is shown nowhere."""
    read_only: bool
    browser: bool
    """Whether the first page is opened in a browser."""


@contextmanager
def interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Take some signals for Ctrl-C, apart from those that are ignored (``nohup``)."""
    before = {number: signal.getsignal(number) for number in signals}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url(listener: socket.socket, host: str) -> str:
    address, port = listener.getsockname()[:2]
    if ip_address(address.partition("%")[0]).is_unspecified:
        host = "localhost"  # all addresses, of which a browser can only be given one
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _way_in(url: str, opening: Opening) -> str | None:
    """What is said once of the token."""
    if opening.token is None:
        return None
    elsewhere = ""
    if url.startswith("http://localhost:") and opening.host != "localhost":
        elsewhere = ", elsewhere with this machine's address in place of localhost"
    if opening.is_own_token:
        return f"To get in: {url}?token=… once in each browser, with ${TOKEN_VARIABLE}{elsewhere}"
    return f"To get in: {url}?token={quote(opening.token)} once in each browser{elsewhere}"


def show_home(home: str, token: str | None) -> None:
    """Open the first page in a browser; where none can be, its address has been said.

    Args:
        home: Its address.
        token: What is asked for at the door, if anything is.
    """
    import webbrowser

    with suppress(OSError, webbrowser.Error):
        if token is None:
            webbrowser.open(home)
            return
        # Not in the browser's arguments, which everybody on this machine sees; the file is its
        # owner's alone.
        descriptor, name = tempfile.mkstemp(prefix="panoptic-", suffix=".html")
        os.close(descriptor)
        file = Path(name)
        atexit.register(file.unlink, missing_ok=True)
        address = escape(f"{home}?token={quote(token)}")
        file.write_text(f'<meta http-equiv="refresh" content="0; url={address}">')
        webbrowser.open(file.as_uri())
        time.sleep(_SECONDS_TO_OPEN)
        file.unlink(missing_ok=True)


def _serve(listener: socket.socket, opening: Opening) -> None:
    """Serve on a socket until a signal comes, then end the runs and what was started."""
    import uvicorn

    from panoptic_assets.orchestration import insides, runs
    from panoptic_assets.orchestration.instance import instance_to_look_at
    from panoptic_assets.serve import manual
    from panoptic_assets.serve.page_address import PAGES
    from panoptic_assets.serve.webserver import PanopticWebserver
    from panoptic_assets.serve.worker import kept_worker
    from resources.project_folder import dagster_home, find
    from resources.report_folder import ReportFolder

    project = find()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            url = _url(listener, opening.host)
            home = f"{url}{PAGES.format(corpus=project.corpus)}/"
            say(f"Your clusters: {home} (stop with Ctrl-C)")
            say(f"The Dagster UI of {project.folder}: {url}")
            say(f"The manual: {url}{manual.MOUNT}/")
            if way_in := _way_in(home, opening):
                say(way_in)
            sys.stdout.flush()
            webserver.warm_up()
            if opening.browser:
                threading.Thread(target=show_home, args=(home, opening.token), daemon=True).start()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Before requests are waited for: who waits for an act is told that it was stopped.
            webserver.stop_acts()
            await super().shutdown(sockets)

    insides.log_warnings_only()
    only_looks = opening.read_only
    opened = instance_to_look_at if only_looks else _instance
    home = dagster_home(project)
    with ExitStack() as worker, opened(home) as instance:
        # As `dagster-webserver` does; matters for an instance in PostgreSQL.
        instance.optimize_for_webserver(
            statement_timeout=15_000, pool_recycle=3600, max_overflow=20
        )
        if not only_looks:
            for run_id in runs.end_orphans(instance):
                tell(f"The run {run_id} was interrupted when its process was killed.", "yellow")
            ReportFolder(folder=str(project.folder)).recover()
            # After the instance was opened: two processes that create its files at once fail.
            worker.enter_context(kept_worker(home, instance, tell))
        with insides.workspace(instance, _CODE_LOCATION, only_looks) as context:
            with nullcontext() if only_looks else _daemon(context):
                names = [opening.host, *opening.allowed_hosts]
                webserver = PanopticWebserver(
                    context, project.reports, names, opening.token, project.folder
                )
                server = Server(
                    uvicorn.Config(
                        webserver.create_asgi_app(),
                        log_level="warning",
                        timeout_graceful_shutdown=2,
                        proxy_headers=False,  # whoever is on this machine could send them
                    )
                )
                with suppress(KeyboardInterrupt):
                    server.run(sockets=[listener])
            # Those of commands and of other tools have processes of their own, and go on; so do
            # those of another `ui`, beside one that only looks.
            if not only_looks:
                if mine := runs.of_code_servers(instance):
                    tell(f"Cancelling {counted(len(mine), 'run')} …")
                runs.cancel(instance, mine)
        worker.close()
        with suppress(ChildProcessError):
            while True:  # the code server was told to end; nothing else was started
                os.wait()


@contextmanager
def _instance(home: Path) -> "Iterator[dg.DagsterInstance]":
    # Two processes that create the database at once fail. A command that has held the lock for
    # some seconds has created it, and may go on for hours.
    from filelock import Timeout

    from panoptic_assets.orchestration.instance import instance_lock, open_instance

    lock = instance_lock(home)
    with suppress(Timeout):
        lock.acquire(timeout=5)
    with open_instance(home) as instance:
        lock.release()
        yield instance


@contextmanager
def _daemon(context: "insides.Workspace") -> Iterator[None]:
    """Dagster's daemon, in threads of this process; says once that it has stopped."""
    from panoptic_assets.orchestration import insides

    ending = threading.Event()

    def watch(check_threads: Callable[[], None]) -> None:
        while not ending.wait(5):
            try:
                check_threads()
            except Exception:
                tell(
                    "The daemon stopped: runs stay in the queue. Stop this command with Ctrl-C "
                    "and start it again.",
                    "red",
                )
                return

    with insides.daemon(context) as check_threads:
        threading.Thread(target=watch, args=(check_threads,), daemon=True).start()
        try:
            yield
        finally:
            ending.set()


def _stop_with_input() -> None:
    """Stop this process when the command that started it is gone, however that came."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _opening_of_input() -> Opening:
    """What the command wrote as the first line; what follows is not read."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(sys.stdin.fileno(), 1)
        if not part:  # the command is gone
            raise KeyboardInterrupt
        line += part
    return Opening(**json.loads(line))


def main() -> None:
    """The server's process: the socket is its argument, the rest is the first line of its input."""
    [descriptor] = sys.argv[1:]
    try:
        with (
            interrupted_by(signal.SIGTERM, signal.SIGHUP),
            socket.socket(fileno=int(descriptor)) as listener,
        ):
            opening = _opening_of_input()
            threading.Thread(target=_stop_with_input, daemon=True).start()
            _serve(listener, opening)
    except KeyboardInterrupt:
        pass
    except InputError as error:
        click.echo(f"Error: {printable(str(error))}", err=True)
        sys.exit(CANNOT)


if __name__ == "__main__":
    main()

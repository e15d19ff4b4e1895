"""``panoptic-assets ui``: Dagster's web server, its daemon and the reports, as one command.

Belongs here: the processes, how they start, and that none of them stays. Does not belong here: what
is served (``panoptic_assets.serve.webserver``).

Two processes: the command, which has the terminal, and in a process group of its own the server,
which has the daemon's threads in it and starts Dagster's code server, which starts the runs. The
server stops when its input ends, so also when the command is killed with -9; the command then ends
what is left of the group, so also what hangs. Windows has neither such groups nor sockets that a
process inherits by number, so the command is refused there.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.terminal import say, tell
from panoptic_assets.spec.text import counted, printable
from resources import ENVIRONMENT_VARIABLE
from resources.errors import InputError

if TYPE_CHECKING:
    import dagster as dg

    from panoptic_assets.orchestration import insides

_CODE_LOCATION = "panoptic_assets.definitions"
_CANNOT = 2
"""Exit code where what was asked cannot be done."""
_SECONDS_TO_STOP = 20
"""How long the server gets, runs included, before it is killed."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=3000,
    show_default=True,
    help="Port to listen on; 0: any free one.",
)
@click.option(
    "--allowed-host",
    multiple=True,
    metavar="NAME",
    help="A name by which browsers reach this server, beside its addresses, localhost and --host.",
)
@click.pass_context
def ui(context: click.Context, host: str, port: int, allowed_host: tuple[str, ...]) -> None:
    """Open the project in a browser: Dagster's UI, the reports and the manual, until Ctrl-C."""
    from filelock import Timeout

    from panoptic_assets.orchestration.dagster_yaml import lacking_settings
    from panoptic_assets.orchestration.instance import ui_lock
    from panoptic_assets.upkeep.environment import check_environment
    from resources.project_folder import dagster_home, find

    if not hasattr(os, "killpg"):
        raise InputError(
            "`panoptic-assets ui` does not run on Windows, which cannot hand a socket to the "
            "server and has no process groups to end it by: run it in WSL 2. All other commands "
            "do without it.",
            id="ui-not-on-windows",
        )
    project = find(context.obj)
    open_project(project.folder)  # a store that cannot be read is refused before anything starts
    home = dagster_home(project)
    check_environment()
    if lacking := lacking_settings(home):
        remedy = "`panoptic-assets init --update` adds what this version comes with"
        if home != project.dagster_home:
            remedy = "copy what you want of it from the project's configs/dagster.yaml"
        tell(f"{home / 'dagster.yaml'} lacks {', '.join(lacking)}: {remedy}.", "yellow")
    # Two daemons would start each queued run twice.
    lock = ui_lock(home)
    try:
        held = lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            "Another `panoptic-assets ui` has {folder} open: use that one, or stop it first.",
            id="ui-already-open",
            folder=project.folder,
        ) from error
    with held, _listening(host, port) as listener:
        if not _is_loopback(listener):
            tell(
                f"Warning: Dagster has no password. Whoever reaches {host} can read this project "
                "and change it.",
                "yellow",
            )
        command = [sys.executable, "-m", __name__, str(listener.fileno()), host, *allowed_host]
        process = subprocess.Popen(
            command,
            # Where this package lies: no module of the working directory may take its place.
            cwd=Path(__file__).parents[2],
            env=os.environ
            | {ENVIRONMENT_VARIABLE: str(project.folder), "DAGSTER_HOME": str(home.absolute())},
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        listener.close()
        status = _supervise(process)
    if status == _CANNOT:
        context.exit(_CANNOT)
    if status:
        raise InputError(
            "The server ended by itself (status {status}); the lines above say why. Start it "
            "again with the same command: runs that wait in the queue go on.",
            id="server-ended",
            status=status,
        )


def _supervise(process: "subprocess.Popen[bytes]") -> int:
    """Wait until the server ends, or end it on Ctrl-C; its exit status, 0 when it was asked to."""
    try:
        with _interrupted_by(signal.SIGTERM, signal.SIGHUP):
            return process.wait()
    except KeyboardInterrupt:
        tell("Stopping …")
        with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):  # a second Ctrl-C: at once
            assert process.stdin is not None  # noqa: S101
            process.stdin.close()
            process.wait(_SECONDS_TO_STOP)
        return 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _interrupted_by(*signals: signal.Signals) -> Iterator[None]:
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


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens, taken before anything is started.

    Raises:
        InputError: The host is none of this machine's, or the port cannot be had.
    """
    try:
        # An empty name would mean all addresses.
        found = socket.getaddrinfo(host or "-", port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(
            "{host!r} is no address of this machine: leave --host out, or give one that it has.",
            id="no-address-of-this-machine",
            host=host,
        ) from error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(128)
        except PermissionError as error:
            raise InputError(
                "Port {port} is reserved for the system: choose another one, such as --port 3001.",
                id="port-reserved",
                port=port,
            ) from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise InputError(
                    "{host!r} is no address of this machine: leave --host out, or give one that "
                    "it has.",
                    id="no-address-of-this-machine",
                    host=host,
                ) from error
            raise InputError(
                "Port {port} is taken on {host}: stop what uses it, or choose another one, such "
                "as --port {other}.",
                id="port-taken",
                port=port,
                host=host,
                other=port + 1 if port < 65535 else 3000,
            ) from error
        yield listener


def _is_loopback(listener: socket.socket) -> bool:
    return ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def _url(listener: socket.socket, host: str) -> str:
    address, port = listener.getsockname()[:2]
    if ip_address(address.partition("%")[0]).is_unspecified:
        host = "localhost"  # all addresses, of which a browser can only be given one
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _serve(listener: socket.socket, host: str, allowed_hosts: list[str]) -> None:
    """Serve on a socket until a signal comes, then end the runs and what was started."""
    import uvicorn

    from panoptic_assets.orchestration import insides, runs
    from panoptic_assets.serve import manual
    from panoptic_assets.serve.webserver import PanopticWebserver
    from resources import report_folder as reports
    from resources.project_folder import dagster_home, find

    project = find()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            url = _url(listener, host)
            say(f"The Dagster UI of {project.folder}: {url} (stop with Ctrl-C)")
            say(f"Your clusters: {url}{reports.MOUNT}/")
            say(f"The manual: {url}{manual.MOUNT}/")
            sys.stdout.flush()

    insides.log_warnings_only()
    with _instance(dagster_home(project)) as instance:
        for run_id in runs.end_orphans(instance):
            tell(f"The run {run_id} was interrupted when its process was killed.", "yellow")
        with insides.workspace(instance, _CODE_LOCATION) as context:
            with _daemon(context):
                reports.ReportFolder(folder=str(project.folder)).recover()
                app = PanopticWebserver(context, project.reports, [host, *allowed_hosts])
                server = Server(
                    uvicorn.Config(
                        app.create_asgi_app(), log_level="warning", timeout_graceful_shutdown=2
                    )
                )
                with suppress(KeyboardInterrupt):
                    server.run(sockets=[listener])
            # Those of commands and of other tools have processes of their own, and go on.
            if mine := runs.of_code_servers(instance):
                tell(f"Cancelling {counted(len(mine), 'run')} …")
            runs.cancel(instance, mine)
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
        # As `dagster-webserver` does; matters for an instance in PostgreSQL.
        instance.optimize_for_webserver(
            statement_timeout=15_000, pool_recycle=3600, max_overflow=20
        )
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


def main() -> None:
    """The server's process: socket, host and further names are its arguments."""
    descriptor, host, *allowed_hosts = sys.argv[1:]
    try:
        with (
            _interrupted_by(signal.SIGTERM, signal.SIGHUP),
            socket.socket(fileno=int(descriptor)) as listener,
        ):
            threading.Thread(target=_stop_with_input, daemon=True).start()
            _serve(listener, host, allowed_hosts)
    except KeyboardInterrupt:
        pass
    except InputError as error:
        click.echo(f"Error: {printable(str(error))}", err=True)
        sys.exit(_CANNOT)


if __name__ == "__main__":
    main()

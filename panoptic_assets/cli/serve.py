"""``panoptic-assets ui``: the project's pages, Dagster's web server and its daemon, as one command.

Belongs here: the command, what it takes, where the token comes from that is asked for at the door,
and that no process stays. Does not belong here: the server's process (``cli.ui_process``).

Two processes: the command, which has the terminal, and in a process group of its own the server,
which has the daemon's threads in it and starts Dagster's code server and the warm worker
(``panoptic_assets.serve.worker``), which carry out the runs. The server stops when its input ends,
so also when the command is killed with -9; the command then ends what is left of the group, so also
what hangs. Windows has neither such groups nor sockets that a process inherits by number, so the
command is refused there.
"""

import dataclasses
import errno
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import click

from panoptic_assets.cli import ui_process
from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.terminal import tell
from panoptic_assets.cli.ui_process import CANNOT, TOKEN_VARIABLE, Opening, interrupted_by
from resources import ENVIRONMENT_VARIABLE
from resources.errors import InputError

_SECONDS_TO_STOP = 20
"""How long the server gets, runs included, before it is killed."""
_LONGEST_FOLDER = 75
"""Bytes of the path of the folder for temporary files: a socket's may have 103 on a Mac, 107
elsewhere, and the worker's needs 26 of them."""
_LEAST_CHARACTERS = 16
"""Of a token of somebody's own making; one that is made here has 43."""


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
@click.option(
    "--token",
    is_flag=True,
    help="Ask for a token on this machine too, as is done of everybody where --host lets others "
    "in: $PANOPTIC_TOKEN, or a new one, which is printed.",
)
@click.option(
    "--read-only",
    is_flag=True,
    help="Let everything be looked at and nothing changed: no acts, no daemon, no queue.",
)
@click.option(
    "--browser/--no-browser",
    default=True,
    help="Open the first page in a browser, where the terminal is on a desktop.",
)
@click.pass_context
def ui(
    context: click.Context,
    host: str,
    port: int,
    allowed_host: tuple[str, ...],
    token: bool,
    read_only: bool,
    browser: bool,
) -> None:
    """Open the project in a browser: its clusters, Dagster's UI and the manual, until Ctrl-C."""
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
    _check_temporary_folder()
    own_token = _token_of_environment()
    if not read_only and (lacking := lacking_settings(home)):
        remedy = "`panoptic-assets init --update` adds what this version comes with"
        if home != project.dagster_home:
            remedy = "copy what you want of it from the project's configs/dagster.yaml"
        tell(f"{home / 'dagster.yaml'} lacks {', '.join(lacking)}: {remedy}.", "yellow")
    with ExitStack() as held:
        # Two daemons would start each queued run twice; who only looks starts none.
        if not read_only:
            try:
                held.enter_context(ui_lock(home).acquire(timeout=0))
            except Timeout as error:
                raise InputError(
                    "Another `panoptic-assets ui` has {folder} open: use that one, or stop it "
                    "first.",
                    id="ui-already-open",
                    folder=project.folder,
                ) from error
        listener = held.enter_context(_listening(host, port))
        is_here = _is_loopback(listener)
        if not is_here:
            tell(
                f"Warning: what goes to and from {host} is http, which can be read on its way, the "
                "token too: put a reverse proxy with https before this server.",
                "yellow",
            )
        is_asked = token or own_token is not None or not is_here
        opening = Opening(
            host,
            allowed_host,
            token=(own_token or secrets.token_urlsafe()) if is_asked else None,
            is_own_token=own_token is not None,
            read_only=read_only,
            browser=browser and sys.stdout.isatty() and has_desktop(os.environ, sys.platform),
        )
        environment = {name: text for name, text in os.environ.items() if name != TOKEN_VARIABLE}
        process = subprocess.Popen(
            [sys.executable, "-m", ui_process.__name__, str(listener.fileno())],
            # Where this package lies: no module of the working directory may take its place.
            cwd=Path(__file__).parents[2],
            env=environment
            | {ENVIRONMENT_VARIABLE: str(project.folder), "DAGSTER_HOME": str(home.absolute())},
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        listener.close()
        assert process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError):  # it has ended, and `_supervise` says with what
            process.stdin.write(json.dumps(dataclasses.asdict(opening)).encode() + b"\n")
            process.stdin.flush()
        status = _supervise(process)
    if status == CANNOT:
        context.exit(CANNOT)
    if status:
        raise InputError(
            "The server ended by itself (status {status}); the lines above say why. Start it "
            "again with the same command: runs that wait in the queue go on.",
            id="server-ended",
            status=status,
        )


def has_desktop(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a browser that is started here opens before the eyes of who started it.

    Args:
        environment: Variables: over ssh, the desktop is another machine's.
        platform: As of ``sys.platform``; a Mac says nothing of its desktop.
    """
    if any(environment.get(name) for name in ("SSH_CONNECTION", "SSH_TTY")):
        return False
    return platform == "darwin" or any(map(environment.get, ("WAYLAND_DISPLAY", "DISPLAY")))


def _check_temporary_folder() -> None:
    """Refuse a folder for temporary files that sockets cannot lie in, Dagster's neither.

    Raises:
        InputError: Its path is too long, or nothing can be written to any such folder.
    """
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        raise InputError(
            "There is no folder for temporary files that can be written to: make room or set "
            "TMPDIR to one. ({reason})",
            id="no-temporary-folder",
            reason=error,
        ) from error
    if len(os.fsencode(folder)) > _LONGEST_FOLDER:
        raise InputError(
            "The path of {folder}, the folder for temporary files, is too long for the sockets "
            "that are made there: set TMPDIR to one of at most {longest} bytes, such as /tmp.",
            id="temporary-folder-too-long",
            folder=folder,
            longest=_LONGEST_FOLDER,
        )


def _token_of_environment() -> str | None:
    """The token that somebody gives instead of a new one at each start.

    Raises:
        InputError: It is too short, or nothing that can stand in a header.
    """
    given = os.environ.get(TOKEN_VARIABLE, "")
    if not given:
        return None
    if len(given) < _LEAST_CHARACTERS or not re.fullmatch(r"[!-~]+", given):
        raise InputError(
            "The environment variable {token_variable} cannot be used: give {least_characters} "
            "letters, digits or signs of ASCII at least, without spaces, such as `openssl rand "
            "-hex 32` prints, or unset it.",
            id="token-unusable",
            token_variable=TOKEN_VARIABLE,
            least_characters=_LEAST_CHARACTERS,
        )
    return given


def _supervise(process: "subprocess.Popen[bytes]") -> int:
    """Wait until the server ends, or end it on Ctrl-C; its exit status, 0 when it was asked to."""
    try:
        with interrupted_by(signal.SIGTERM, signal.SIGHUP):
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

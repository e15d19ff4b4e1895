"""Web: asking servers of the public web for documents and pictures.

Belongs here: one GET, politely (few at once, a pause between them, as long a wait as the server
asks for) and safely (bounded sizes and times, and no address of a private network that a document
of the public web names). Does not belong here: what is asked for (``iiif_folder``), what is kept of
it (``web_cache``), and endpoints that people configure for other purposes (``labeller``,
``notifier``).

urllib3 is used below its pools' managers: the host is resolved and checked here, and the connection
goes to the very address that was checked, so that a name cannot mean another machine a moment
later. Each redirect is checked in the same way.

Long because all that a server can do wrong is met in one place.
"""

import email.utils
import importlib.metadata
import ipaddress
import math
import random
import socket
import ssl
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3

from resources.errors import noted
from resources.listing import error_line

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 30.0
_HEAD_SECONDS = 60.0
"""For all headers of an answer."""
_WHOLE_SECONDS = 180.0
"""For all bytes of an answer: one byte a second would hold a reader for ever."""
_REDIRECTS = 5
_CHUNK = 2**16
_BUSY = frozenset({429, 502, 503, 504})
"""Answers after which the same request may succeed."""
_TAKEN = frozenset({200, 301, 302, 303, 304, 307, 308})
_PATIENCE = 3
"""So many requests in a row may get no answer, each with all its attempts, before a host is left
alone."""
_PATIENCE_BUSY = 10
"""So many requests of one kind in a row may be put off by a host that is busy: its documents may
be there while its pictures are not."""
_LEFT_ALONE_SECONDS = 60.0
"""Doubled with each further time."""
_MOST_ALONE_SECONDS = 3600.0
_AWAY = ""
_POOLS = 64
_CUT = noted("the connection ended before the answer did")
_LATE = noted("the server does not answer in time")
_SHOWN = 200


class WebError(Exception):
    """A request that gave nothing; its text is a phrase for people, without secrets."""

    def __init__(self, reason: str, status: int = 0, unreachable: bool = False):
        super().__init__(reason)
        self.reason = reason
        self.status = status
        """The HTTP status, if that is what was wrong."""
        self.unreachable = unreachable
        """Whether the host gives nothing to anybody now: it says nothing about what was asked."""


class TooLargeError(WebError):
    """An answer has more bytes than it may."""


@dataclass(frozen=True)
class WebAnswer:
    """What a server answered."""

    status: int
    """200, or 304 where what the asker has is what there is."""
    headers: Mapping[str, str]
    """With names in lower case."""
    body: bytes


class Reach(IntEnum):
    """How far an address can be reached from, the more private the larger."""

    PUBLIC = 0
    PRIVATE = 1
    LINK = 2
    """The same wire: where machines of a cloud hand out their secrets."""
    MACHINE = 3


def reach_of(address: str) -> Reach:
    """From where an IP address can be reached.

    Args:
        address: Of version 4 or 6; one of version 4 inside one of version 6 counts as that.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if str(ip) in _METADATA:
        return Reach.LINK
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if not inner and any(ip in network for network in _EMBEDDING):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner and not (ip.is_loopback or ip.is_unspecified):
            found = reach_of(str(inner))
            return max(found, Reach.PRIVATE) if ip in _LOCAL_NAT64 else found
        if ip.is_site_local:
            return Reach.PRIVATE
    if ip.is_loopback or ip.is_unspecified or ip in _THIS_NETWORK:
        return Reach.MACHINE
    if ip.is_link_local:
        return Reach.LINK
    return Reach.PUBLIC if ip.is_global and not ip.is_multicast else Reach.PRIVATE


_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_EMBEDDING = (
    ipaddress.ip_network("64:ff9b::/96"),
    _LOCAL_NAT64,
    ipaddress.ip_network("::/96"),
    ipaddress.ip_network("::ffff:0:0:0/96"),
)
"""Networks whose addresses have one of version 4 at their end."""
_METADATA = frozenset(
    {"169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"}
)
"""Where clouds hand out the secrets of their machines, be it on the same wire or not."""
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")


def shown_address(url: str) -> str:
    """An address for people: without user, password and query, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return url.partition("?")[0][:_SHOWN]
    text = f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path
    printable = "".join(letter for letter in text if letter.isprintable())
    return printable if len(printable) <= _SHOWN else f"{printable[: _SHOWN - 1]}…"


@dataclass
class _Host:
    """What is known of one host."""

    free: threading.Semaphore
    lock: threading.Lock = field(default_factory=threading.Lock)
    not_before: float = 0.0
    """On the clock of time.monotonic."""
    failures: dict[str, int] = field(default_factory=dict)
    """Requests in a row that gave nothing, since the host was away; or by what they accept, since
    it was busy."""
    alone_until: dict[str, float] = field(default_factory=dict)
    """Until when, by the same."""
    spells: int = 0
    """How often it was left alone."""
    reason: str = ""


@dataclass
class Web:
    """Asks servers, all threads of a source together; safe to share."""

    home: str
    """The address that a person named. Its host may be asked wherever it lies; others only where
    they lie in no network that is more private."""
    requests: int = 2
    """Requests at once to one host."""
    pause: float = 0.1
    """Seconds between the starts of two requests to one host."""
    attempts: int = 4
    backoff: float = 1.0
    """Seconds before the second attempt; doubled for each further one, and longer at random by up
    to a half."""
    max_wait: float = 60.0
    """Seconds that a server may ask to wait (Retry-After); beyond, the request fails at once."""
    _hosts: dict[str, _Host] = field(default_factory=dict, repr=False)
    _pools: dict[tuple[str, str, int, str], Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _of_home: list[str] | None = None

    def get(
        self,
        url: str,
        max_bytes: int,
        accept: str,
        validators: Mapping[str, str] | None = None,
        packed: bool = False,
    ) -> WebAnswer:
        """The answer to a GET.

        Args:
            url: What to ask for.
            max_bytes: Of the answer, as it is sent and unpacked.
            accept: The header of that name.
            validators: Headers that let the server say that nothing has changed (304).
            packed: Whether the answer may come compressed.

        Raises:
            WebError: There is no answer, or it is no success.
            TooLargeError: It is larger than it may be.
        """
        headers = {
            "Accept": accept,
            "Accept-Encoding": "gzip" if packed else "identity",
            "User-Agent": f"panoptic-assets/{importlib.metadata.version('panoptic-assets')}",
            **(validators or {}),
        }
        for _ in range(_REDIRECTS + 1):
            answer = self._answer(url, max_bytes, headers)
            if answer.status in (200, 304):
                return answer
            location = answer.headers.get("location", "")
            try:
                url = urljoin(url, location)
            except ValueError:
                url = ""
            if not location or not url:
                raise WebError(noted("it sends on to nowhere"), answer.status)
        raise WebError(noted("it sends on more than {count:d} times", count=_REDIRECTS))

    def forgive(self, url: str) -> None:
        """Ask the host of an address again, even if it was let down too often."""
        host = self._host(_target(url).host or "")
        with host.lock:
            host.alone_until.pop(_AWAY, None)

    def begin_anew(self) -> None:
        """Forget which hosts have failed."""
        with self._lock:
            hosts = list(self._hosts.values())
        for host in hosts:
            with host.lock:
                host.failures.clear()
                host.alone_until.clear()
                host.spells = 0

    def _answer(self, url: str, max_bytes: int, headers: Mapping[str, str]) -> WebAnswer:
        """The answer of one host, after as many attempts as it takes."""
        target = _target(url)
        host, kind = self._host(target.host or ""), headers["Accept"]
        with host.free:
            failure: WebError | None = None
            failing = _AWAY
            for attempt in range(self.attempts):
                self._wait(host, kind)
                wait: float | None = None
                try:
                    answer = self._attempt(target, max_bytes, headers)
                except _NoAnswerError as error:
                    failure, failing = WebError(error.reason, unreachable=True), _AWAY
                else:
                    failing = kind
                    with host.lock:
                        host.failures.pop(_AWAY, None)
                    if answer.status not in _BUSY:
                        with host.lock:
                            host.failures.pop(kind, None)
                        if answer.status not in _TAKEN:
                            raise WebError(_status(answer.status), answer.status)
                        return answer
                    failure = WebError(_status(answer.status), answer.status, unreachable=True)
                    wait = _retry_after(answer.headers.get("retry-after", ""))
                if wait is not None and wait > self.max_wait:
                    asks = noted("the server asks to wait {seconds:,.0f} s", seconds=wait)
                    failure = WebError(asks, failure.status, unreachable=True)
                    break
                if attempt + 1 < self.attempts:
                    backoff = self.backoff * 2**attempt * random.uniform(1, 1.5)  # noqa: S311
                    with host.lock:
                        pause = time.monotonic() + max(wait or 0.0, backoff)
                        host.not_before = max(host.not_before, pause)
            assert failure  # noqa: S101  # there is at least one attempt
            with host.lock:
                host.failures[failing] = host.failures.get(failing, 0) + 1
                if host.failures[failing] >= (_PATIENCE if failing == _AWAY else _PATIENCE_BUSY):
                    seconds = _LEFT_ALONE_SECONDS * 2 ** min(host.spells, 10)
                    host.alone_until[failing] = time.monotonic() + min(seconds, _MOST_ALONE_SECONDS)
                    host.spells += 1
                    host.reason = failure.reason
            raise failure

    def _wait(self, host: _Host, kind: str) -> None:
        """Wait for the host's turn; refuse where it has been let down too often."""
        with host.lock:
            now = time.monotonic()
            if now < max(host.alone_until.get(each, 0.0) for each in (_AWAY, kind)):
                raise WebError(host.reason, unreachable=True)
            start = max(now, host.not_before)
            host.not_before = start + self.pause
        if start > now:
            time.sleep(start - now)

    def _attempt(
        self, target: urllib3.util.Url, max_bytes: int, headers: Mapping[str, str]
    ) -> WebAnswer:
        deadline = time.monotonic() + _WHOLE_SECONDS
        with (
            _faults_of_the_net(),
            self._asked(target, headers) as response,
            _cut_after(response.connection_socket, _WHOLE_SECONDS),
        ):
            names = {name.lower(): value for name, value in response.headers.items()}
            if response.status != 200:
                # Whatever is said besides the status is not read: the connection is given up.
                return WebAnswer(response.status, names, b"")
            length = names.get("content-length", "")
            if length.isdecimal() and int(length) > max_bytes:
                raise TooLargeError(_too_many(max_bytes))
            body = b"".join(_read(response, names, max_bytes, deadline))
            if length.isdecimal() and "content-encoding" not in names and len(body) != int(length):
                raise _NoAnswerError(_CUT)
            # Headers that are cut off are, to http.client, headers that end there.
            if not body and not length and "transfer-encoding" not in names:
                raise _NoAnswerError(_CUT)
            return WebAnswer(response.status, names, body)

    @contextmanager
    def _asked(self, target: urllib3.util.Url, headers: Mapping[str, str]) -> Iterator[Any]:
        """The response to a request whose body is not read yet."""
        pool, address, above = self._pool(target)
        response = pool.urlopen(
            "GET",
            address,
            headers={**headers, **above},
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
        )
        finished = False
        try:
            yield response
            # A packed answer may end before what was sent does.
            finished = response.status == 200 and "content-encoding" not in response.headers
        finally:
            if finished:
                response.release_conn()
            else:
                response.close()

    def _pool(self, target: urllib3.util.Url) -> tuple[Any, str, dict[str, str]]:
        """What makes connections to a host, the address to ask it for, and headers to add."""
        host, scheme = target.host or "", target.scheme or ""
        port = target.port or (443 if scheme == "https" else 80)
        bare = host.strip("[]")
        proxy = urllib.request.getproxies().get(scheme)
        if proxy and not _is_this_machine(bare) and not urllib.request.proxy_bypass(bare):
            self._check_behind_proxy(bare)
            return self._kept_pool(("proxy", proxy, 0, ""), lambda: _proxy(proxy)), target.url, {}
        address = self._address(bare, port)
        key = (scheme, address, port, bare)
        if scheme == "http":
            pool = self._kept_pool(key, lambda: _HttpPool(address, port, maxsize=self.requests))
        else:
            pool = self._kept_pool(
                key,
                lambda: _HttpsPool(
                    address,
                    port,
                    maxsize=self.requests,
                    ssl_context=ssl.create_default_context(),
                    server_hostname=bare,
                    assert_hostname=bare,
                ),
            )
        return pool, target.request_uri, {"Host": target.netloc or host}

    def _kept_pool(self, key: tuple[str, str, int, str], make: Callable[[], Any]) -> Any:
        with self._lock:
            if key not in self._pools:
                if len(self._pools) >= _POOLS:
                    del self._pools[next(iter(self._pools))]
                self._pools[key] = make()
            return self._pools[key]

    def _host(self, name: str) -> _Host:
        with self._lock:
            return self._hosts.setdefault(name, _Host(threading.Semaphore(self.requests)))

    def _address(self, host: str, port: int) -> str:
        """An address of a host that may be asked."""
        found = _resolved(host, port)
        allowed = [address for address in found if self._is_allowed(address)]
        if not allowed:
            raise WebError(
                noted(
                    "{host} lies in a private network, which a document of the web may not name",
                    host=host,
                )
            )
        # Version 4 first: a machine without a way to version 6 would wait for it each time.
        return min(allowed, key=lambda address: ":" in address)

    def _check_behind_proxy(self, host: str) -> None:
        # The proxy looks the name up. What can be told here is told.
        home = (urlsplit(self.home).hostname or "").lower()
        if host.lower() == home:
            return
        try:
            found = _resolved(host, 0)
        except _NoAnswerError:
            if "." in host:
                return
            found = ["127.0.0.1"]
        if not all(map(self._is_allowed, found)):
            raise WebError(
                noted(
                    "{host} lies in a private network, which a document of the web may not name",
                    host=host,
                )
            )

    def _is_allowed(self, address: str) -> bool:
        reach = reach_of(address)
        if self._of_home is None:
            host = urlsplit(self.home).hostname or ""
            try:
                self._of_home = _resolved(host, 0)
            except _NoAnswerError:  # behind a proxy names may mean nothing here
                return reach == Reach.PUBLIC
        # The most public of its addresses: no answer of its name server opens more.
        home = min(map(reach_of, self._of_home))
        if reach == Reach.LINK:
            bare = address.partition("%")[0]
            is_metadata = bare in _METADATA or not _is_link_local(bare)
            return home == Reach.LINK and (not is_metadata or address in self._of_home)
        return reach <= home


def _is_link_local(address: str) -> bool:
    """Whether it is of version 4 or 6 itself, not one inside the other."""
    return ipaddress.ip_address(address).is_link_local


@contextmanager
def _cut_after(connected: socket.socket | None, seconds: float) -> Iterator[None]:
    """Give up on what drips: the time-out of a socket begins anew with each byte.

    Raises:
        _NoAnswerError: The time was over, whatever became of the answer.
    """
    is_over = threading.Event()

    def cut() -> None:
        is_over.set()
        if connected is not None:
            with suppress(OSError):
                # Below TLS, whose own way to end would be waited for.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    watch = threading.Timer(seconds, cut)
    watch.daemon = True
    watch.start()
    try:
        yield
    except Exception as error:
        if is_over.is_set():
            raise _NoAnswerError(_CUT) from error
        raise
    finally:
        watch.cancel()
    if is_over.is_set():
        raise _NoAnswerError(_LATE)


class _Watched:
    """Bounds the time of all headers, and tells the socket that the body comes by."""

    sock: Any

    def getresponse(self, *args: Any, **options: Any) -> Any:
        connected = self.sock  # is taken away with the last answer of a connection
        with _cut_after(connected, _HEAD_SECONDS):
            response = super().getresponse(*args, **options)  # type: ignore[misc]
        response.connection_socket = connected
        return response


class _WatchedHttp(_Watched, urllib3.connection.HTTPConnection):
    """A connection by http."""


class _WatchedHttps(_Watched, urllib3.connection.HTTPSConnection):
    """A connection by https."""


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _WatchedHttp


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedHttps


class _NoAnswerError(Exception):
    """An attempt after which another one may succeed."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@contextmanager
def _faults_of_the_net() -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.NewConnectionError as error:  # to urllib3 a time-out, too
        raise _NoAnswerError(
            noted("the server cannot be reached: {error}", error=_cause(error))
        ) from error
    except urllib3.exceptions.TimeoutError as error:
        raise _NoAnswerError(_LATE) from error
    except urllib3.exceptions.SSLError as error:
        raise WebError(
            noted("the server's certificate is refused: {error}", error=error_line(error))
        ) from error
    except urllib3.exceptions.ProtocolError as error:
        raise _NoAnswerError(_CUT) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _NoAnswerError(
            noted("the server cannot be reached: {error}", error=_cause(error))
        ) from error
    except ValueError as error:  # http.client's, of headers that are none
        raise WebError(
            noted("the server's answer cannot be read: {error}", error=error_line(error))
        ) from error


def _cause(error: BaseException) -> str:
    """What lies below urllib3's own words, which name objects of this process."""
    below = error.__cause__ or error.__context__
    if isinstance(below, OSError) and below.strerror:
        return below.strerror
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _target(url: str) -> urllib3.util.Url:
    """The parts of an address that may be asked, with what is not ASCII in it escaped."""
    try:
        parts = urllib3.util.parse_url(url)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise WebError(noted("{url} is no address", url=shown_address(url))) from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise WebError(noted("{url} is no address of http or https", url=shown_address(url)))
    if parts.auth:
        raise WebError(noted("{url} holds a user or a password", url=shown_address(url)))
    return parts._replace(fragment=None)


def _resolved(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port or None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _NoAnswerError(noted("there is no host {host}", host=host)) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or reach_of(host) == Reach.MACHINE
    except ValueError:
        return False


def _proxy(url: str) -> urllib3.ProxyManager:
    parts = urllib3.util.parse_url(url if "://" in url else f"http://{url}")
    headers = urllib3.make_headers(proxy_basic_auth=parts.auth) if parts.auth else None
    if parts.scheme not in ("http", "https"):
        raise WebError(
            noted(
                "the proxy that this machine names is one of {kind}, which cannot be used: name "
                "one of http in https_proxy, or the server in no_proxy",
                kind=parts.scheme,
            )
        )
    manager = urllib3.ProxyManager(
        parts._replace(auth=None).url,
        proxy_headers=headers,
        ssl_context=ssl.create_default_context(),
    )
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return manager


def _read(
    response: Any, headers: Mapping[str, str], max_bytes: int, deadline: float
) -> Iterator[bytes]:
    """The body in parts, unpacked, never more of it than allowed."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    unpack = None
    if encoding in ("gzip", "x-gzip", "deflate"):
        unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    elif encoding not in ("", "identity"):
        raise WebError(noted("the answer is packed in an unknown way ({way})", way=encoding[:40]))
    left = max_bytes
    try:
        # read1 gives what is there, so that the deadline is looked at; read would wait for all.
        while not (unpack and unpack.eof) and (
            part := response.read1(_CHUNK, decode_content=False)
        ):
            if time.monotonic() > deadline:
                raise _NoAnswerError(_LATE)
            if unpack:
                part = unpack.decompress(part, left + 1)
                while unpack.unconsumed_tail and len(part) <= left:
                    part += unpack.decompress(unpack.unconsumed_tail, left + 1 - len(part))
            left -= len(part)
            if left < 0:
                raise TooLargeError(_too_many(max_bytes))
            yield part
    except zlib.error as error:
        raise WebError(
            noted("the server's answer cannot be read: {error}", error=error_line(error))
        ) from error
    if unpack and not unpack.eof:
        raise _NoAnswerError(_CUT)


def _too_many(limit: int) -> str:
    return noted("the answer has more than {limit:,} bytes", limit=limit)


def _status(status: int) -> str:
    return noted("the server answers with status {status:d}", status=status)


def _retry_after(text: str) -> float | None:
    """Seconds to wait, as a header asks for; None where it asks for nothing that can be read."""
    if text.strip().isdecimal():
        return float(text.strip()[:12])
    try:
        at = email.utils.parsedate_to_datetime(text)
        seconds = at.timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None

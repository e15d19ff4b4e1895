"""A digital library that the tests start: documents, and images by the IIIF Image API.

It notes what it was asked for. Documents have a version, so that they can be asked for again in
vain; images come in the size that is asked for, by services that know as little as they are told.
"""

import contextlib
import hashlib
import io
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from PIL import Image


@dataclass
class Sent:
    """What the server answers to one path."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drips: bool = False
    """Whether its headers never end."""


@dataclass
class Service:
    """An image, and what its service knows."""

    width: int
    height: int
    colour: str = "red"
    version: int = 3
    level: int = 2
    most: int = 0
    """The longest side that it gives."""


@dataclass
class Library:
    """A server's content, by path, and what it was asked for."""

    url: str = ""
    sent: dict[str, Sent | list[Sent] | Callable[[], Sent]] = field(default_factory=dict)
    """A list is answered one after the other; its last entry from then on."""
    services: dict[str, Service] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [path for path, _ in self.asked]

    def paths_since(self, number: int) -> list[str]:
        return self.paths[number:]

    def document(self, path: str, content: Any) -> str:
        """Offer a document; returns its address."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        mark = hashlib.sha256(body).hexdigest()[:12]
        self.sent[path] = Sent(body, headers={"ETag": f'"{mark}"'})
        return f"{self.url}{path}"

    def image(self, name: str, *args: Any, **options: Any) -> dict[str, Any]:
        """Offer an image by a service; returns the body of a manifest in version 3."""
        service = self.services[name] = Service(*args, **options)
        address = f"{self.url}/image/{name}"
        if service.version == 3:
            described = {"id": address, "type": "ImageService3", "profile": f"level{service.level}"}
        else:
            described = {
                "@context": "http://iiif.io/api/image/2/context.json",
                "@id": address,
                "profile": f"http://iiif.io/api/image/2/level{service.level}.json",
            }
        whole = "max" if service.version == 3 else "full"
        return {
            "id": f"{address}/full/{whole}/0/default.jpg",
            "type": "Image",
            "format": "image/jpeg",
            "width": service.width,
            "height": service.height,
            "service": [described],
        }

    def answer(self, path: str, headers: dict[str, str]) -> Sent:
        found = self.sent.get(path)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        elif callable(found):
            found = found()
        if found is None:
            found = self._image(path)
        etag = found.headers.get("ETag")
        if etag and headers.get("If-None-Match") == etag:
            return Sent(status=304, headers=found.headers)
        return found

    def _image(self, path: str) -> Sent:
        parts = unquote(path).removeprefix("/image/").split("/")
        service = self.services.get(parts[0])
        if service is None or not path.startswith("/image/"):
            return Sent(status=404)
        if parts[1:] == ["info.json"]:
            told = {
                "@context": f"http://iiif.io/api/image/{service.version}/context.json",
                "id": f"{self.url}/image/{parts[0]}",
                "width": service.width,
                "height": service.height,
                "profile": [f"http://iiif.io/api/image/2/level{service.level}.json"],
            }
            if service.version == 3:
                told |= {"type": "ImageService3", "profile": f"level{service.level}"}
            if service.most:
                told |= {"maxWidth": service.most}
            return Sent(json.dumps(told).encode())
        if len(parts) != 5 or parts[4] != "default.jpg" or parts[3] != "0":
            return Sent(status=400)
        size = self._size(service, parts[1], parts[2])
        if size is None or (service.most and max(size) > service.most):
            return Sent(status=400)
        file = io.BytesIO()
        Image.new("RGB", size, service.colour).save(file, "JPEG")
        mark = f'"{parts[0]} {service.colour}"'
        return Sent(file.getvalue(), headers={"Content-Type": "image/jpeg", "ETag": mark})

    @staticmethod
    def _size(service: Service, region: str, asked: str) -> tuple[int, int] | None:
        width, height = service.width, service.height
        if region != "full":
            _, _, width, height = map(int, region.split(","))
        if asked == ("max" if service.version == 3 else "full"):
            return width, height
        if service.level == 0:
            return None
        if asked.endswith(",") and asked[:-1].isdecimal():
            given = int(asked[:-1])
            return given, max(1, round(height * given / width))
        if asked.startswith("!") and service.level == 2:
            share = min(
                int(part) / side
                for part, side in zip(asked[1:].split(","), (width, height), strict=True)
            )
            return max(1, round(width * share)), max(1, round(height * share))
        return None


@contextlib.contextmanager
def opened(context: ssl.SSLContext | None = None) -> Iterator[Library]:
    """A library that answers on this machine; by TLS, where a context is given."""
    library = Library()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer takes 40 ms

        def do_GET(self) -> None:
            headers = dict(self.headers.items())
            with library.lock:
                library.asked.append((self.path, headers))
                library.at_once += 1
                library.most_at_once = max(library.most_at_once, library.at_once)
            try:
                sent = library.answer(self.path, headers)
                while sent.drips:
                    self.wfile.write(b"X")
                    time.sleep(0.01)
                self.send_response(sent.status)
                for name, value in sent.headers.items():
                    self.send_header(name, value)
                if sent.status != 304 and "Content-Length" not in sent.headers:
                    self.send_header("Content-Length", str(len(sent.body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(b"" if sent.status == 304 else sent.body)
            finally:
                with library.lock:
                    library.at_once -= 1
            if "Content-Length" in sent.headers:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that has hung up is no fault of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    library.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}"
    try:
        yield library
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def canvas(label: Any, *bodies: Any, **more: Any) -> dict[str, Any]:
    """A canvas of version 3, with one annotation for each body."""
    painted = [{"type": "Annotation", "motivation": "painting", "body": body} for body in bodies]
    shown = {} if label is None else {"label": label}
    return {
        "type": "Canvas",
        "height": 3000,
        "width": 2000,
        "items": [{"type": "AnnotationPage", "items": painted}],
        **shown,
        **more,
    }


def manifest(label: Any, *canvases: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A manifest of version 3."""
    return {
        "@context": "http://iiif.io/api/presentation/3/context.json",
        "type": "Manifest",
        "label": label,
        "items": list(canvases),
        **more,
    }


def manifest_2(label: Any, *canvases: tuple[Any, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A manifest of version 2, of labels and bodies of version 3."""
    return {
        "@context": "http://iiif.io/api/presentation/2/context.json",
        "@type": "sc:Manifest",
        "label": label,
        "sequences": [
            {
                "@type": "sc:Sequence",
                "canvases": [
                    {
                        "@type": "sc:Canvas",
                        "label": name,
                        "images": [
                            {
                                "@type": "oa:Annotation",
                                "motivation": "sc:painting",
                                "resource": {
                                    "@id": body["id"],
                                    "@type": "dctypes:Image",
                                    "width": body["width"],
                                    "height": body["height"],
                                    "service": body["service"][0],
                                },
                            }
                        ],
                    }
                    for name, body in canvases
                ],
            }
        ],
        **more,
    }

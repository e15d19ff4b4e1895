"""A server on this machine that speaks OpenAI's chat completions, as badly as a test wants."""

import base64
import contextlib
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

KEY = "sk-test-Zq8vW3nR5tY7uP1aS4dF6gH9"
"""An API key that no file of a project may hold."""


@dataclass
class Answer:
    """What the server does with one request."""

    text: str | list[dict[str, str]] | None = None
    """The message's content, in a proper chat completion; a list has its parts."""
    refusal: str | None = None
    finish: str = "stop"
    status: int = 200
    body: bytes | None = None
    """Instead of a chat completion."""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """Before it answers."""
    cut: bool = False
    """Whether the connection ends in the middle of the answer."""
    drip: float = 0.0
    """Seconds between one byte and the next."""
    tokens: tuple[int, int] | None = (100, 10)


def named(label: str, description: str = "What the images show.") -> Answer:
    """A proper answer."""
    return Answer(json.dumps({"label": label, "description": description}))


def error(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    """An answer in OpenAI's form of an error."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": code}}).encode()
    return Answer(
        status=status, body=body, headers={n.replace("_", "-"): v for n, v in headers.items()}
    )


@dataclass
class Request:
    """What the server was sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def images(self) -> list[bytes]:
        """The JPEG files of the message."""
        parts = self.body["messages"][1]["content"]
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        return [base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) for url in urls]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [Image.open(io.BytesIO(data)).size for data in self.images]

    @property
    def text(self) -> str:
        return next(p["text"] for p in self.body["messages"][1]["content"] if p["type"] == "text")


class VisionEndpoint:
    """The server; `answer` decides, by the number of the request (from 0) and the request."""

    def __init__(self, answer: Callable[[int, Request], Answer]):
        self.answer = answer
        self.requests: list[Request] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, body, time.monotonic())
                with endpoint._lock:
                    number = len(endpoint.requests)
                    endpoint.requests.append(request)
                    endpoint._at_once += 1
                    endpoint.most_at_once = max(endpoint.most_at_once, endpoint._at_once)
                try:
                    answer = endpoint.answer(number, request)
                    time.sleep(answer.seconds)
                finally:
                    with endpoint._lock:
                        endpoint._at_once -= 1
                with contextlib.suppress(OSError):  # who asked may be gone
                    self._send(answer, body)

            def _send(self, answer: Answer, asked: dict[str, Any]) -> None:
                body = answer.body if answer.body is not None else _completion(answer, asked)
                self.send_response(answer.status)
                headers = {"Content-Type": "application/json", **answer.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if answer.cut:
                    self.wfile.write(body[: len(body) // 2])
                    self.close_connection = True
                elif answer.drip:
                    for byte in body:
                        self.wfile.write(bytes([byte]))
                        time.sleep(answer.drip)
                else:
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _completion(answer: Answer, asked: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": answer.text, "refusal": answer.refusal}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": asked.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish}],
    }
    if answer.tokens is not None:
        tokens_in, tokens_out = answer.tokens
        completion["usage"] = {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        }
    return json.dumps(completion).encode()

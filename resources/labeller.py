"""VisionLLM: questions with pictures, asked of a vision language model.

Belongs here: talking to any endpoint that speaks OpenAI's chat completions, so that it may be slow,
busy, broken or hostile; what an attempt costs; keeping the API key out of every text. Does not
belong here: what is asked, and what an answer means (``panoptic_assets.labels.questions``).

Every question gets one :class:`Reply`, whatever happens to it; only what no question can survive,
such as a wrong key, is an :class:`InputError`.

Long because all that an endpoint can do wrong is met in one place, on one budget.
"""

import asyncio
import base64
import contextlib
import email.utils
import json
import math
import os
import random
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from queue import SimpleQueue
from typing import Any, Literal
from urllib.parse import urlsplit

from resources.errors import InputError

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
DEFAULT_URL = "https://api.openai.com/v1"

_SECRET_LENGTH = 8
"""Shorter keys, such as `EMPTY` or `ollama`, stand for none at servers that ask for no key."""

_CONNECT_SECONDS = 10.0
_SHOWN = 200
"""Characters of what an endpoint says that are shown."""

_TRANSIENT = {408, 409, 425, 429}
"""Besides 5xx, the answers after which the same request may succeed."""
_TEXTS = {"text", "output_text"}
"""Types of the parts of a message that are the answer."""
_WITHHELD = {"content_filter", "safety", "refusal", "prohibited_content", "blocklist", "sensitive"}
"""Reasons for which an answer ended that make it none: OpenAI's, and what others say for it."""
_NO_CREDIT = {"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"}
"""OpenAI's error codes that come as 429 and that no waiting ends."""


@dataclass(frozen=True)
class Question:
    """What is asked about some pictures."""

    key: str
    text: str
    images: Callable[[], Sequence[bytes]]
    """Gives the pictures as JPEG files. Called in another thread when the question's turn comes, so
    that only as many are in memory as are asked at once."""


@dataclass(frozen=True)
class Reply:
    """What became of a question: a text, or the reason why there is none."""

    key: str
    text: str | None
    reason: str | None
    """One plain line, without secrets."""
    nb_requests: int
    """Attempts, each one HTTP request."""
    tokens_in: int
    """As the endpoint counts them; 0 where it does not tell."""
    tokens_out: int


@dataclass(frozen=True)
class VisionLLM:
    """A vision language model behind an OpenAI-compatible endpoint.

    The key comes from the environment variable ``OPENAI_API_KEY`` and from nowhere else; without
    one, only an endpoint on this machine is asked.
    """

    model: str
    base_url: str = ""
    """With the version, such as ``http://127.0.0.1:11434/v1``; empty: ``OPENAI_BASE_URL``, else
    OpenAI's."""
    detail: Literal["low", "high"] = "low"
    max_output_tokens: int = 500
    timeout: float = 60.0
    """Seconds that one attempt may take, from the connection to the last byte."""
    max_retries: int = 3
    """Attempts after the first, when the endpoint is busy, broken or slow."""
    concurrency: int = 4
    """Requests in the air at once."""
    backoff: float = 1.0
    """Seconds before the second attempt; doubled for each further one, and shortened at random by
    up to a half, so that many who failed together do not come again together."""
    max_wait: float = 120.0
    """Seconds that an endpoint may ask to wait (Retry-After) before an attempt; beyond, the
    question fails at once."""
    max_bytes: int = 1_000_000
    """Size of an answer, decompressed, whatever it is."""

    @property
    def url(self) -> str:
        """The endpoint's address.

        Raises:
            InputError: It is no address, or one that holds secrets.
        """
        url = self.base_url or os.environ.get(URL_VARIABLE, "").strip() or DEFAULT_URL
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            parts, host = urlsplit(""), None
        # Before the address is shown in another message.
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise InputError(
                "The address of the vision model (`base_url`) holds a user, a password or a "
                "query: leave them out; the key comes from the environment variable "
                "{key_variable}.",
                id="endpoint-address-with-secrets",
                key_variable=KEY_VARIABLE,
            )
        plain = url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not host or not plain:
            raise InputError(
                "{url!r} is no address of an endpoint: give `base_url` with http:// or https://, "
                "a host and mostly /v1, such as http://127.0.0.1:11434/v1.",
                id="endpoint-address-unusable",
                url=url,
            )
        return url

    @property
    def host(self) -> str:
        """Host and port of the endpoint."""
        return urlsplit(self.url).netloc

    @property
    def sends_in_clear(self) -> bool:
        """Whether the key and the pictures cross a network unencrypted."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and not _is_this_machine(parts.hostname or "")

    def check(self) -> None:
        """See that all that is needed to ask is there, without asking.

        Raises:
            InputError: The package, the key or the address is missing or cannot be used.
        """
        self._key()
        try:
            import openai  # noqa: F401
        except ImportError:
            raise InputError(
                "Asking a vision model needs the package openai: run `pip install "
                '"panoptic-assets[vision]"`.',
                id="openai-not-installed",
            ) from None

    def ask(
        self,
        questions: Iterable[Question],
        system: str,
        schema: Mapping[str, Any],
        affordable: Callable[[int, int], bool] = lambda tokens_in, tokens_out: True,
    ) -> Generator[Reply]:
        """The replies, as they come.

        The first question goes alone: what is wrong for all of them costs one request. When the
        iterator is closed, also by Ctrl-C, what is in the air is dropped.

        Args:
            questions: What to ask; their keys differ.
            system: The system message.
            schema: JSON schema of the answer. Endpoints that refuse it are asked without.
            affordable: Whether to go on, given the tokens in and out so far. Once it says no, the
                questions that are left get replies that no request was made for.

        Raises:
            InputError: As :meth:`check`; or the endpoint cannot be reached, does not know the key,
                the model or the address, or has no credit left. What was answered before that has
                been given out.
        """
        self.check()
        results: SimpleQueue[Reply | BaseException | None] = SimpleQueue()
        session = _Session(self, self._key(), system, schema, affordable)
        loop = asyncio.new_event_loop()
        task = loop.create_task(session.run(questions, results.put))

        def work() -> None:
            try:
                loop.run_until_complete(task)
                results.put(None)
            except BaseException as error:
                results.put(error)
            finally:
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()

        # A thread of its own, as the caller may have an event loop (a notebook has); a daemon, so
        # that no server keeps a process alive.
        thread = threading.Thread(target=work, name="vision model", daemon=True)
        thread.start()
        try:
            while (result := results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            if thread.is_alive() and not task.done():
                loop.call_soon_threadsafe(task.cancel)
            thread.join(timeout=5)

    def _key(self) -> str:
        key = os.environ.get(KEY_VARIABLE, "")
        if not key:
            if _is_this_machine(urlsplit(self.url).hostname or ""):
                return "none"
            raise InputError(
                "There is no API key for {host}: set the environment variable {key_variable}. (An "
                "endpoint that needs none, in your own network, takes any.)",
                id="api-key-missing",
                host=self.host,
                key_variable=KEY_VARIABLE,
            )
        # The HTTP library would quote it in its refusal.
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise InputError(
                "The environment variable {key_variable} holds a space, a line break or another "
                "character that no key has: set it again.",
                id="api-key-malformed",
                key_variable=KEY_VARIABLE,
            )
        return key


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _TooLargeError(Exception):
    """An answer has more bytes than it may."""


class _FatalError(InputError):
    """What no question can survive."""


@dataclass(frozen=True)
class _Outcome:
    """What one attempt gave."""

    text: str | None = None
    reason: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    again: bool = False
    """Whether another attempt may succeed."""
    wait: float | None = None
    """Seconds that the endpoint asks to wait before."""
    status: int | None = None
    code: str = ""
    unreachable: bool = False


class _Session:
    """The requests of one :meth:`VisionLLM.ask`, all in one event loop."""

    def __init__(
        self,
        llm: VisionLLM,
        key: str,
        system: str,
        schema: Mapping[str, Any],
        affordable: Callable[[int, int], bool],
    ):
        self._llm = llm
        self._key = key
        self._system = system
        self._affordable = affordable
        self._options: dict[str, Any] = {
            "max_completion_tokens": llm.max_output_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            },
        }
        self._tokens = [0, 0]
        self._reached = self._answered = False
        self._not_before = 0.0
        """On the clock of time.monotonic: an endpoint that is busy is so for all questions."""

    async def run(self, questions: Iterable[Question], put: Callable[[Reply], None]) -> None:
        waiting = iter(questions)

        async def worker(limit: int | None = None) -> None:
            for done, question in enumerate(waiting, start=1):
                put(await self._reply(question))
                if done == limit:
                    return

        self._client = self._new_client()
        workers: list[asyncio.Task[None]] = []
        try:
            await worker(1)
            workers = [asyncio.create_task(worker()) for _ in range(self._llm.concurrency)]
            await asyncio.gather(*workers)
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._client.close()

    def _new_client(self) -> Any:
        import openai

        limit = self._llm.max_bytes

        class Bounded(openai.DefaultAsyncHttpxClient):
            """Reads answers up to a limit, where the library reads all that is sent."""

            async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
                response = await super().send(request, stream=True, **options)
                body = bytearray()
                try:
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > limit:
                            raise _TooLargeError
                finally:
                    await response.aclose()
                headers = response.headers.copy()
                for name in ("content-encoding", "content-length", "transfer-encoding"):
                    headers.pop(name, None)
                return type(response)(
                    response.status_code, headers=headers, content=bytes(body), request=request
                )

        timeout = openai.Timeout(
            self._llm.timeout, connect=min(_CONNECT_SECONDS, self._llm.timeout)
        )
        client = None
        with contextlib.suppress(Exception):  # whatever its library says of an odd address
            client = openai.AsyncOpenAI(
                api_key=self._key,
                base_url=self._llm.url,
                # Its own attempts could not be counted, nor held back for all questions together.
                max_retries=0,
                # A redirect would carry the pictures to a host that nobody chose.
                http_client=Bounded(timeout=timeout, follow_redirects=False),
            )
        if client is None:
            raise _FatalError(
                "{url!r} is no address that can be asked: correct it.",
                id="endpoint-address-refused",
                url=self._llm.url,
            )
        return client

    async def _reply(self, question: Question) -> Reply:
        if not self._affordable(*self._tokens):
            spent = f"not asked: the budget is spent ({sum(self._tokens):,} tokens)"
            return Reply(question.key, None, spent, 0, 0, 0)
        images = await asyncio.to_thread(question.images)
        if not images:
            return Reply(question.key, None, "not asked: none of its images can be read", 0, 0, 0)
        content = [{"type": "text", "text": question.text}, *map(self._part, images)]
        messages = [
            {"role": "system", "content": self._system},
            {"role": "user", "content": content},
        ]
        nb_requests = failures = 0
        while True:
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            options = self._options
            outcome = await self._attempt(messages, options)
            nb_requests += 1
            self._tokens[0] += outcome.tokens_in
            self._tokens[1] += outcome.tokens_out
            if outcome.status in (400, 422) and (adapted := _adapted(options, outcome.reason)):
                if self._options is options:
                    self._options = adapted
                continue
            self._reached = self._reached or not outcome.unreachable
            self._answered = self._answered or outcome.text is not None
            self._check(outcome)
            failures += 1
            if not outcome.again or failures > self._llm.max_retries:
                break
            wait = outcome.wait
            if wait is not None:
                self._not_before = max(self._not_before, time.monotonic() + wait)
            else:
                wait = self._llm.backoff * 2 ** min(failures - 1, 30)
                wait = min(wait, self._llm.max_wait) * random.uniform(0.5, 1.0)  # noqa: S311
                await asyncio.sleep(wait)
        if not self._reached:
            raise _FatalError(
                "{host} cannot be reached: check `base_url` and the network, and that the server "
                "runs ({reason}).",
                id="endpoint-unreachable",
                host=self._llm.host,
                reason=outcome.reason,
            )
        reason = outcome.reason
        if reason and nb_requests > 1:
            reason = f"{reason} ({nb_requests} requests)"
        return Reply(
            question.key,
            outcome.text,
            reason,
            nb_requests,
            outcome.tokens_in,
            outcome.tokens_out,
        )

    def _part(self, image: bytes) -> dict[str, Any]:
        url = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
        return {"type": "image_url", "image_url": {"url": url, "detail": self._llm.detail}}

    async def _attempt(self, messages: list[Any], options: Mapping[str, Any]) -> _Outcome:
        """One request. No exception leaves: it may hold the request, and so the key."""
        import openai

        too_large = _Outcome(reason=f"the answer has more than {self._llm.max_bytes:,} bytes")
        late = _Outcome(reason=f"no answer within {self._llm.timeout:g} s", again=True)
        try:
            async with asyncio.timeout(self._llm.timeout):
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self._llm.model, messages=messages, **options
                )
            return self._read(raw.content)
        except openai.APIStatusError as error:
            return self._of_status(error)
        except _TooLargeError:
            return too_large
        except TimeoutError:
            return late
        except openai.APIConnectionError as error:
            cause = error.__cause__
            if isinstance(cause, _TooLargeError):
                return too_large
            kind = type(cause).__name__
            unreachable = kind in ("ConnectError", "ConnectTimeout")
            if isinstance(error, openai.APITimeoutError) and not unreachable:
                return late
            said = self._one_line(str(cause or "")) or kind
            what = "the endpoint cannot be reached" if unreachable else "the connection was cut"
            return _Outcome(reason=f"{what}: {said}", again=True, unreachable=unreachable)
        except Exception as error:
            said = self._one_line(f"{type(error).__name__}: {error}")
            return _Outcome(reason=f"the request failed: {said}")

    def _of_status(self, error: Any) -> _Outcome:
        status: int = error.status_code
        body = error.body
        code = ""
        if isinstance(body, dict):
            code = str(body.get("code") or body.get("type") or "")
            body = body.get("message") or body.get("detail") or body
        said = self._one_line(body if isinstance(body, str) else json.dumps(body, default=str))
        wait = _retry_after(error.response.headers, time.time())
        again = status in _TRANSIENT or status >= 500
        if code in _NO_CREDIT:
            again = False
        reason = f"the endpoint answered {status}" + (f": {said}" if said else "")
        if again and wait is not None and wait > self._llm.max_wait:
            again = False
            reason = f"{reason}; it asks to wait {wait:,.0f} s"
        return _Outcome(reason=reason, again=again, wait=wait, status=status, code=code)

    def _read(self, content: bytes) -> _Outcome:
        """The text of a chat completion, of which nothing is sure."""
        try:
            completion = json.loads(content)
            [choice, *_] = completion["choices"]
            message = choice["message"]
            text, refusal = message.get("content"), message.get("refusal")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            shown = self._one_line(content[: 4 * _SHOWN].decode("utf-8", "replace"))
            return _Outcome(reason=f"the endpoint's answer is no chat completion: {shown!r}")
        if isinstance(text, list):  # in parts, as some endpoints give it, some of them thoughts
            parts = [part for part in text if isinstance(part, dict)]
            refusal = refusal or "".join(str(part.get("refusal") or "") for part in parts)
            text = "".join(str(p.get("text", "")) for p in parts if p.get("type", "text") in _TEXTS)
        usage = completion.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        spent = _Outcome(
            tokens_in=_count(usage.get("prompt_tokens")),
            tokens_out=_count(usage.get("completion_tokens")),
        )
        if refusal:
            said = self._one_line(str(refusal))
            return replace(spent, reason=f"the model refuses: {said!r}")
        finish = str(choice.get("finish_reason") or "").lower()
        if finish in _WITHHELD:
            return replace(spent, reason="the endpoint's filter held the answer back")
        if finish == "length":
            limit = self._llm.max_output_tokens
            reason = f"the answer was cut at {limit:,} tokens: raise `max_output_tokens`"
            return replace(spent, reason=reason)
        if not isinstance(text, str) or not text.strip():
            return replace(spent, reason="the model's answer is empty")
        return replace(spent, text=self._scrubbed(text))

    def _check(self, outcome: _Outcome) -> None:
        """Raise what stops everything. (Outside of any `except`: the exception has no context.)"""
        host, status, reason = self._llm.host, outcome.status, outcome.reason
        if status == 401 and self._answered:
            raise _FatalError(
                "{host} does not accept the API key: set the environment variable {key_variable} "
                "to one that is valid there ({reason}). The answers so far are kept.",
                id="api-key-no-longer-accepted",
                host=host,
                key_variable=KEY_VARIABLE,
                reason=reason,
            )
        if status == 401:
            raise _FatalError(
                "{host} does not accept the API key: set the environment variable {key_variable} "
                "to one that is valid there ({reason}).",
                id="api-key-not-accepted",
                host=host,
                key_variable=KEY_VARIABLE,
                reason=reason,
            )
        without_credit = status == 402 or outcome.code in _NO_CREDIT
        if without_credit and self._answered:
            raise _FatalError(
                "{host} has no credit left for this key: top it up first ({reason}). The answers "
                "so far are kept.",
                id="credit-used-up",
                host=host,
                reason=reason,
            )
        if without_credit:
            raise _FatalError(
                "{host} has no credit left for this key: top it up first ({reason}).",
                id="no-credit",
                host=host,
                reason=reason,
            )
        if self._answered:
            return
        if status is not None and (status in (403, 404, 405) or 300 <= status < 400):
            raise _FatalError(
                "{host} does not let the model {model!r} be asked: check `model` and `base_url`, "
                "which mostly ends in /v1, and what the key may do ({reason}).",
                id="endpoint-refuses-model",
                host=host,
                model=self._llm.model,
                reason=reason,
            )

    def _scrubbed(self, text: str) -> str:
        return text.replace(self._key, "***") if len(self._key) >= _SECRET_LENGTH else text

    def _one_line(self, text: str) -> str:
        """The beginning of what an endpoint says, as one plain line, without the key."""
        text = self._scrubbed(text)
        line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _SHOWN]).split())
        return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def _adapted(options: dict[str, Any], said: str | None) -> dict[str, Any] | None:
    """The options without the one that an endpoint does not know; None if it names none of them.

    Old endpoints know `max_tokens` only, OpenAI's reasoning models only `max_completion_tokens`;
    a schema for the answer is refused by many.
    """
    said = (said or "").lower()
    if "max_completion_tokens" in options and "max_completion_tokens" in said:
        rest = {n: value for n, value in options.items() if n != "max_completion_tokens"}
        return rest | {"max_tokens": options["max_completion_tokens"]}
    if "response_format" in options and any(
        name in said for name in ("response_format", "json_schema", "structured output")
    ):
        return {name: value for name, value in options.items() if name != "response_format"}
    return None


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait (RFC 9110, section 10.2.3: seconds or a date); None where nothing is said.

    OpenAI also gives milliseconds, in a header of its own.
    """
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            seconds = float(value) / divisor
        except ValueError:
            continue
        if not math.isnan(seconds):
            return max(0.0, seconds)
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, moment.timestamp() - now)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0

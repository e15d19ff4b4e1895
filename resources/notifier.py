"""Notifier: telling another program, by a small JSON document, that something failed.

Belongs here: how it is posted, and what must not leave this machine. Does not belong here: when
something is told, which is the part of the sensors.
"""

import json
import os
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import IO, Self
from urllib.parse import urlsplit

from resources.errors import InputError
from resources.picture_formats import IMAGE_EXTENSIONS

VARIABLE = "PANOPTIC_NOTIFY_URL"
_SECONDS = 10
_LONGEST = 500
"""Characters of a message."""

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_PASSWORD = re.compile(r"(\w[\w+.-]*://)[^/@\s]*@")
_EXTENSIONS = "|".join(re.escape(name) for name in sorted(IMAGE_EXTENSIONS))
# From a quote to the extension where there is one, since names have spaces; else one word.
_IMAGE = re.compile(
    rf"(?P<quote>['\"])[^'\"\n]*(?:{_EXTENSIONS})(?P=quote)|\S*(?:{_EXTENSIONS})\b", re.IGNORECASE
)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would lead the document to a place that nobody has allowed."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


@dataclass(frozen=True, repr=False)
class Notifier:
    """Posts to one address, which is a secret with many services and is never shown."""

    url: str

    @classmethod
    def from_environment(cls) -> Self | None:
        """The notifier of ``$PANOPTIC_NOTIFY_URL``; None where that is not set.

        Raises:
            InputError: The address is neither https nor on this machine.
        """
        url = os.environ.get(VARIABLE, "").strip()
        if not url:
            return None
        try:
            parts = urlsplit(url)
            usable = parts.hostname and (
                parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)
            )
        except ValueError:
            usable = False
        if not usable:
            raise InputError(
                "{variable} is no address to post to: give one of https://, or of http:// on this "
                "machine.",
                id="notice-address-unusable",
                variable=VARIABLE,
            )
        return cls(url)

    def post(self, document: Mapping[str, str | None]) -> None:
        """Post a document as JSON, and wait ten seconds at most.

        Raises:
            OSError: Nobody answers there, or not with success.
        """
        request = urllib.request.Request(  # noqa: S310
            self.url,
            json.dumps(document, ensure_ascii=False).encode(),
            {"Content-Type": "application/json", "User-Agent": "panoptic-assets"},
        )
        opener = urllib.request.build_opener(_NoRedirects)
        with opener.open(request, timeout=_SECONDS):
            pass


def without_secrets(text: str) -> str:
    """A message on one line, cut, without the names of images and without passwords in URLs."""
    text = " ".join(text.split())
    text = _PASSWORD.sub(r"\1…@", text)
    text = _IMAGE.sub("(an image)", text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

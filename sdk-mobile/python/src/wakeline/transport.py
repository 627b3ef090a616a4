"""How requests are made: yours, if the program has an HTTP stack of its own, else the standard library's."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

# The collector's answers have a few hundred bytes; whatever else answers may not fill memory.
_MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True)
class Request:
    """What is to be posted; the body is compressed already."""

    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What the collector answered; `retry_after` is that header as it came, empty if there was none."""

    status: int
    retry_after: str = ""
    body: bytes = b""


Transport: TypeAlias = Callable[[Request], Answer]
"""Posts a request and waits for its answer. Called on a thread of the client's own, one request at a time. Redirects are
not to be followed. If it raises, no answer came, and the request is made again later."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class UrllibTransport:
    """The standard library's HTTP; proxies are those of the environment."""

    def __init__(self, timeout: float = 30.0) -> None:
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirects)

    def __call__(self, request: Request) -> Answer:
        post = urllib.request.Request(request.url, request.body, dict(request.headers), method="POST")
        try:
            answer = self._opener.open(post, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            answer = error  # an answer, too
        with answer:
            body = answer.read(_MAX_ANSWER_BYTES)
            return Answer(answer.status, answer.headers.get("Retry-After", ""), body)

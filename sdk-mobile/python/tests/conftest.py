"""A client of a real collector, and what the tests say of it afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wakeline
from wakeline import Answer, Request, UrllibTransport, Wakeline

START = (
    "is not set: run `cargo test --workspace --test it mobile`, or start `cargo run --release` and set "
    "WAKELINE_COLLECTOR and WAKELINE_KEY"
)


def told(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise RuntimeError(f"{name} {START}")
    return value


Client = Callable[..., Wakeline]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Makes clients in the test's own folder, and closes them."""
    opened: list[Wakeline] = []

    def make(**settings: Any) -> Wakeline:
        told_settings = {"key": told("WAKELINE_KEY"), "collector": told("WAKELINE_COLLECTOR"), "data_dir": tmp_path}
        opened.append(wakeline.configure(**{**told_settings, **settings}))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def arrives(client: Wakeline) -> wakeline.Status:
    """Sends all that waits; each event must have one fate, and an aggregator will be asked for those that were accepted."""
    assert client.flush(30), client.status()
    status = client.status()
    assert status.accepted + sum(status.rejected.values()) == status.recorded + status.restored, status
    tell(status.accepted)
    client.close()
    return status


def tell(accepted: int) -> None:
    """Tells whoever compares with the aggregator how many events the collector took."""
    path = os.environ.get("WAKELINE_ACCEPTED")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{accepted}\n")


def eventually(what: str, condition: Callable[[], bool]) -> None:
    """Waits for a condition."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"{what}: not within 20 s"
        time.sleep(0.005)


class Cable:
    """The standard library's HTTP, which can be cut."""

    def __init__(self) -> None:
        self.cut = True
        self.asked = 0
        self._real = UrllibTransport()

    def __call__(self, request: Request) -> Answer:
        self.asked += 1
        if self.cut:
            raise OSError("the cable is cut")
        return self._real(request)

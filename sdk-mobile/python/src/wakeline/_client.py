"""The client."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypeVar

from wakeline import _uploads
from wakeline._ffi.wakeline_mobile import Core
from wakeline._status import Status
from wakeline._values import encode, order_of, properties_of, short
from wakeline.commerce import Cart, Order, Product
from wakeline.transport import Transport, UrllibTransport

Consent: TypeAlias = Literal["granted", "denied", "pending", "none"]
Network: TypeAlias = Literal["online", "metered", "offline"]
Direction: TypeAlias = Literal["left", "right", "up", "down"]
Properties: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

_LOG = logging.getLogger("wakeline")
_LOOK_AGAIN_S = 0.02
_CLOSES_MS = 2_000
# What the core is given in place of an event that could not be read, so that it is counted.
_UNREADABLE = "{}"


def configure(
    *,
    key: str,
    collector: str,
    data_dir: str | os.PathLike[str],
    consent: Consent = "none",
    defaults: Properties | None = None,
    app_version: str | None = None,
    os_name: str | None = None,
    os_version: str | None = None,
    model: str | None = None,
    form: Literal["mobile", "tablet", "desktop", "tv"] | None = None,
    language: str | None = None,
    timezone: str | None = None,
    session_gap_minutes: int | None = None,
    flush_interval_ms: int | None = None,
    queue_max_bytes: int | None = None,
    queue_max_age_days: int | None = None,
    batch_wait_ms: int | None = None,
    batch_events: int | None = None,
    transport: Transport | None = None,
    exit_timeout: float = 2.0,
) -> Wakeline:
    """Opens the client: call it once, when the app starts.

    `data_dir` is a folder of the program's own, with the queue and the install id; what is None is as the core has it:
    a visit ends after 30 minutes without an event, what is recorded is on disk after 500 ms (at most 1,000), the queue
    has 10 MiB and 30 days, events wait 5 s for others, 50 leave at once. `exit_timeout` is how many seconds the
    interpreter's end waits for what is not sent yet.

    Raises `ConfigError` if a setting can't be right; the message says which, and what to do.
    """
    settings: dict[str, Any] = {
        "key": key,
        "url": collector,
        "data_dir": os.fspath(data_dir),
        "sdk": "python",
        "consent": consent,
        "defaults": properties_of(defaults) if defaults else None,
        "app_version": app_version,
        "os": os_name or platform.system() or None,
        "os_version": os_version or platform.release() or None,
        "model": model,
        "form": form,
        "language": language,
        "timezone": timezone,
        "session_gap_minutes": session_gap_minutes,
        "flush_interval_ms": flush_interval_ms,
        "queue_max_bytes": queue_max_bytes,
        "queue_max_age_days": queue_max_age_days,
        "batch_wait_ms": batch_wait_ms,
        "batch_events": batch_events,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    return Wakeline(encode(given), transport or UrllibTransport(), exit_timeout)


class Wakeline:
    """A client of one site; `configure` makes it. With `with`, its end sends what waits and closes it."""

    def __init__(self, settings: str, transport: Transport, exit_timeout: float) -> None:
        self._settings = settings
        self._transport = transport
        self._exit_timeout = exit_timeout
        self._closed = False
        self._last = Status()
        self._opening = threading.Lock()
        self._core: Core | None = None
        self._uploads: threading.Thread | None = None
        self._open()
        _CLIENTS.add(self)

    def track(self, name: str, properties: Properties | None = None, /, **more: Any) -> bool:
        """Records an event of your own."""
        return self._record_with(
            "custom", lambda: {"name": short(name), "properties": properties_of({**(properties or {}), **more})}
        )

    def screen(self, name: str, /, **properties: Any) -> bool:
        """Records that a screen is shown; later events are of this screen."""
        return self._record("screen_view", properties, url=short(name))

    def tap(self, name: str, /, **properties: Any) -> bool:
        """Records a tap on what has this name."""
        return self._record("click", properties, name=short(name))

    def swipe(self, direction: Direction, /, **properties: Any) -> bool:
        """Records a swipe in a direction."""
        return self._record("swipe", {**properties, "direction": direction})

    def scroll(self, percent: int) -> bool:
        """Records how far the screen was scrolled, in percent."""
        return self._record("scroll", {"percent": percent})

    def product_view(self, product: Product) -> bool:
        """Records that a product is looked at."""
        return self._record_with("product_view", lambda: {"properties": properties_of(vars(product))})

    def cart(self, cart: Cart) -> bool:
        """Records what the cart has now."""
        return self._record_with("cart", lambda: {"order": order_of(cart)})

    def checkout(self, cart: Cart) -> bool:
        """Records that a checkout began."""
        return self._record_with("checkout", lambda: {"order": order_of(cart)})

    def order(self, order: Order) -> bool:
        """Records an order; it is on disk when the call returns."""
        return self._record_with("order", lambda: {"order": order_of(order)})

    def exposure(self, experiment: str, variant: str) -> bool:
        """Records which variant of an experiment is shown."""
        return self._record("exposure", {}, exposure={"experiment": experiment, "variant": variant})

    def start_timer(self, name: str) -> None:
        """Starts a clock: the next event of this name gets the property `duration_ms`."""
        self._call(lambda core: core.start_timer(name), None)

    @contextlib.contextmanager
    def timed(self, name: str, /, **properties: Any) -> Iterator[None]:
        """Records an event with the time that the block took as `duration_ms`."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.track(name, {**properties, "duration_ms": int((time.monotonic() - start) * 1000)})

    def identify(self, user: str) -> bool:
        """Says who is signed in, for this and later events."""
        return self._call(lambda core: core.identify(user), False)

    def reset(self) -> None:
        """Says that nobody is signed in any more: later events are of a new visitor."""
        self._call(lambda core: core.reset(), None)

    def set_defaults(self, properties: Properties | None = None, /, **more: Any) -> None:
        """Sets the properties that all later events have; an event's own win."""
        self._call(lambda core: core.set_defaults(encode(properties_of({**(properties or {}), **more}))), None)

    def set_consent(self, consent: Consent) -> None:
        """Says what the person answered.

        "none": the site does not ask. Until it is "granted", nothing is recorded; "denied" also erases what waits.
        """
        self._call(lambda core: core.set_consent(consent), None)

    def foreground(self) -> None:
        """Says that the app is visible."""
        self._call(lambda core: core.lifecycle("foreground"), None)

    def background(self) -> None:
        """Says that the app is not visible any more: what waits is written and sent."""
        self._call(lambda core: core.lifecycle("background"), None)

    def low_memory(self) -> None:
        """Says that memory is short: what can be on disk only leaves memory."""
        self._call(lambda core: core.lifecycle("low_memory"), None)

    def set_network(self, network: Network) -> None:
        """Says what network there is."""
        self._call(lambda core: core.network(network), None)

    def open_link(self, url: str) -> None:
        """Says that a link opened the app: its `utm_` parameters are the visit's campaign."""
        self._call(lambda core: core.open_link(url), None)

    def open_push(self, campaign: str = "") -> None:
        """Says that a push notification opened the app."""
        self._call(lambda core: core.open_push(campaign), None)

    def flush(self, timeout: float = 10.0) -> bool:
        """Sends all that waits, and waits until it is answered.

        False if something still waits after `timeout` seconds; it is sent later. In asyncio:
        `await asyncio.to_thread(client.flush)`.
        """
        self._call(lambda core: core.flush(), None)
        try:
            end = time.monotonic() + timeout
        except TypeError:
            _LOG.debug("flush", exc_info=True)
            return False
        while self.status().queued > 0:
            if self._closed or not time.monotonic() <= end:
                return False
            time.sleep(_LOOK_AGAIN_S)
        return True

    def sync(self, timeout: float = 5.0) -> bool:
        """Waits until all that was recorded is on disk.

        False if it is not, after `timeout` seconds or since the disk can't be written.
        """
        return self._call(lambda core: core.sync(int(timeout * 1000)), False)

    def status(self) -> Status:
        """What became of all that was recorded."""
        return self._call(lambda core: Status.of(core.status()), self._last)

    def reconfigure(self, *, key: str | None = None, collector: str | None = None) -> None:
        """Takes another key or collector, and sends again what was kept.

        Raises `ConfigError` if one of them can't be right; the old ones stay.
        """
        settings = {name: value for name, value in (("key", key), ("url", collector)) if value is not None}
        core = self._open()
        if core is not None:
            core.reconfigure(encode(settings))

    def forget(self) -> None:
        """Erases queue and identity on this device: later events are of a new visitor."""
        self._call(lambda core: core.forget(), None)

    def close(self) -> None:
        """Writes all that was recorded to disk and ends; what waits is sent at the next start."""
        with self._opening:
            core, self._core, self._closed = self._core, None, True
        _CLIENTS.discard(self)
        if core is not None:
            core.shutdown(_CLOSES_MS)
            with contextlib.suppress(Exception):
                self._last = Status.of(core.status())

    def __enter__(self) -> Wakeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """Sends what can be sent in time, and closes."""
        if self._core is not None:
            self.flush(self._exit_timeout)
        self.close()

    def _open(self) -> Core | None:
        """The core, which a process that was forked opens anew; None once the client is closed."""
        core = self._core
        if core is not None or self._closed:
            return core
        with self._opening:
            if self._core is None and not self._closed:
                self._core = Core.open(self._settings)
                self._uploads = _uploads.start(self._core, self._transport)
            return self._core

    def _leave_to_parent(self) -> None:
        """In a process that was just forked: the core's threads and files are the parent's."""
        if self._core is not None:
            # Never freed: what it would tidy up is the parent's.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._core))
        self._core = None
        self._uploads = None
        self._opening = threading.Lock()

    def _call(self, call: Callable[[Core], T], otherwise: T) -> T:
        """A broken call must not break the program."""
        try:
            core = self._open()
            return otherwise if core is None else call(core)
        except Exception:
            _LOG.debug("call", exc_info=True)
            return otherwise

    def _record(self, kind: str, properties: Properties, **more: Any) -> bool:
        return self._record_with(kind, lambda: {**more, "properties": properties_of(properties)})

    def _record_with(self, kind: str, members: Callable[[], dict[str, Any]]) -> bool:
        def record(core: Core) -> bool:
            try:
                event = encode({"type": kind, **members()})
            except Exception:
                _LOG.debug("%s", kind, exc_info=True)
                event = _UNREADABLE  # values of the program's own that raise: the core counts it
            return core.record(event)

        return self._call(record, False)


# Clients that are open; those that nobody holds any more stay until the interpreter's end, which sends what they have.
_CLIENTS: set[Wakeline] = set()


@atexit.register
def _end_all() -> None:
    for client in list(_CLIENTS):
        client._end()


def _after_fork() -> None:
    for client in _CLIENTS:
        client._leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""The client against a real collector."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Cable, Client, arrives, eventually, tell, told

from wakeline import Answer, Cart, ConfigError, Item, Order, Product, Request, UrllibTransport


def test_every_call_reaches_the_collector(client: Client) -> None:
    shop = client(app_version="2.1", defaults={"shop": "north"})
    shop.foreground()
    shop.open_link("https://shop.example/mugs?utm_source=newsletter&utm_campaign=spring")
    assert shop.identify("customer-17")
    assert shop.screen("home", theme="dark")
    assert shop.track("search", {"term": "mug"}, results=3, at=datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert shop.tap("buy")
    assert shop.swipe("left")
    assert shop.scroll(80)
    assert shop.product_view(Product("AL-101", "Harbour mug", 1_800, "EUR"))
    cart = Cart("EUR", 3_600, [Item("AL-101", 1_800, 2, "Harbour mug")])
    assert shop.cart(cart)
    assert shop.checkout(cart)
    assert shop.order(Order("python-1", cart.currency, cart.value, cart.items))
    assert shop.exposure("banner", "red")
    shop.start_timer("video")
    assert shop.track("video")
    with shop.timed("answer", of="all"):
        pass
    shop.set_defaults(shop="south")
    shop.open_push("sale")
    shop.reset()
    shop.background()
    status = arrives(shop)
    assert status.recorded >= 14
    assert (status.rejected, status.refused, status.misuse, status.on_disk) == ({}, {}, {}, True)


class Broken(Mapping[str, Any]):
    """A mapping of a program's own that raises."""

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("iter")

    def __len__(self) -> int:
        return 1


def test_nothing_that_a_program_passes_raises_and_all_of_it_is_counted(client: Client) -> None:
    shop = client()
    assert shop.track("numbers", nan=float("nan"), infinite=float("-inf"), big=10**30, huge=10**10_000, price=Decimal("1.5"))
    assert shop.track("texts", emoji="🫖", nul="a\0b", half="\ud83e", long="x" * (1 << 16))
    assert shop.track("values", thread=threading.current_thread(), list=[1], none=None)
    assert shop.track("many", {f"p{n}": n for n in range(10_000)})
    assert shop.track("na\0me\ud800")
    assert shop.track("megabyte", long="ä" * (1 << 18), nuls="\0" * (1 << 14))
    assert shop.track("megabytes", long="x" * (8 << 20))
    assert not shop.track("broken", Broken())
    assert not shop.track("")
    assert not shop.track(17)  # type: ignore[arg-type]
    assert not shop.identify(17)  # type: ignore[arg-type]
    assert not shop.order(Order("", "euro", -1, []))
    assert not shop.order("order")  # type: ignore[arg-type]
    status = arrives(shop)
    assert sum(status.refused.values()) == 5, status
    assert status.rejected == status.refused, "the collector counts them under the same reasons"
    assert status.misuse


def test_settings_that_can_not_be_right_say_what_to_do(client: Client) -> None:
    for wrong, named in [({"key": ""}, "key"), ({"collector": "shop"}, "url"), ({"flush_interval_ms": 60_000}, "flush_interval_ms")]:
        with pytest.raises(ConfigError, match=named):
            client(**wrong)


def test_what_is_recorded_offline_is_sent_when_there_is_a_network_again(client: Client) -> None:
    cable = Cable()
    shop = client(transport=cable)
    for n in range(100):
        assert shop.track("offline", n=n)
    assert not shop.flush(0.3)
    assert shop.sync()
    eventually("a try", lambda: cable.asked > 0)
    shop.set_network("offline")
    cable.cut = False
    shop.set_network("online")
    arrives(shop)


def test_what_waits_when_the_program_ends_is_sent_by_the_next_start_once(client: Client) -> None:
    before = client(transport=Cable())
    install = before.status().install
    for n in range(50):
        assert before.track("before", n=n)
    before.close()
    after = client()
    assert after.track("after")
    assert after.status().install == install
    assert arrives(after).restored == 50


def test_a_refused_key_keeps_all_until_another_is_given(client: Client) -> None:
    shop = client(key="wk_00000000000000000000000000000000")
    for n in range(10):
        assert shop.track("kept", n=n)
    assert not shop.flush(0.2)
    eventually("the collector refuses the key", lambda: shop.status().stopped == 401)
    assert shop.track("kept")
    assert shop.status().queued == 11
    with pytest.raises(ConfigError):
        shop.reconfigure(collector="shop")
    shop.reconfigure(key=told("WAKELINE_KEY"))
    arrives(shop)


def test_sixty_four_threads_record_at_once(client: Client) -> None:
    shop = client()
    taken: list[bool] = []

    def record(number: int) -> None:
        taken.extend(shop.track("threads", thread=number, n=n) for n in range(50))

    threads = [threading.Thread(target=record, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [True] * (64 * 50)
    assert arrives(shop).recorded == 64 * 50


def test_without_consent_nothing_is_recorded(client: Client) -> None:
    shop = client(consent="pending")
    assert not shop.track("not asked yet")
    shop.set_consent("granted")
    assert shop.track("agreed")
    shop.set_consent("denied")
    assert not shop.track("refused")
    shop.set_consent("granted")
    assert shop.track("agreed again")
    assert shop.flush(30)
    status = shop.status()
    assert status.refused == {"no_consent": 2}
    assert status.accepted == 1, "what waited was erased by the refusal"
    assert status.dropped == {"forgotten": 1}
    tell(status.accepted)


def test_whoever_is_forgotten_is_somebody_else_afterwards(client: Client) -> None:
    shop = client(transport=Cable())
    before = shop.status().install
    shop.track("forgotten")
    shop.forget()
    eventually("another id", lambda: shop.status().install != before)
    eventually("an empty queue", lambda: shop.status().queued == 0)


def test_calls_after_the_end_do_nothing(client: Client) -> None:
    shop = client()
    shop.close()
    shop.close()
    assert not shop.track("late")
    assert not shop.sync(0.1)


def test_a_closed_client_says_what_still_waits(client: Client) -> None:
    closed = client()
    closed.set_network("offline")
    assert closed.track("waits")
    assert closed.flush(None) is False  # type: ignore[arg-type]
    closed.close()
    assert closed.status().queued == 1
    assert not closed.flush(30)
    arrives(client())


def test_a_text_without_end_costs_itself_and_not_the_event(client: Client) -> None:
    recording = client()
    assert recording.track("text", text="x" * (1 << 21))
    assert recording.status().misuse == {"text_cut": 1}
    assert recording.status().refused == {}
    arrives(recording)


def test_a_transport_that_raises_whatever_it_likes_costs_nothing(client: Client) -> None:
    asked: list[Request] = []
    real = UrllibTransport()

    def transport(request: Request) -> Answer:
        asked.append(request)
        if len(asked) == 1:
            raise KeyError("a bug of the program's")
        return real(request)

    shop = client(transport=transport)
    shop.track("thrown")
    arrives(shop)
    assert len(asked) > 1


def test_the_end_of_a_block_sends_what_waits(client: Client, tmp_path: Path) -> None:
    with client(exit_timeout=30.0, data_dir=tmp_path / "block") as shop:
        assert shop.track("block")
    tell(1)
    again = client(data_dir=tmp_path / "block")
    assert arrives(again).restored == 0

"""Products, carts and orders. Money is in minor units (cents); currencies are those of ISO 4217, upper case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """A product that is looked at."""

    sku: str
    name: str | None = None
    price: int | None = None
    currency: str | None = None


@dataclass(frozen=True)
class Item:
    """A line of a cart or an order; `price` is that of one piece."""

    sku: str
    price: int
    quantity: int = 1
    name: str | None = None


@dataclass(frozen=True)
class Cart:
    """What is in a cart; `value` is its total."""

    currency: str
    value: int
    items: Sequence[Item]
    id: str | None = None


@dataclass(frozen=True)
class Order:
    """An order that was placed; by its `id` it counts once, however often it is recorded. `value` is its total."""

    id: str
    currency: str
    value: int
    items: Sequence[Item]

"""Events as the core takes them: JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

from wakeline.commerce import Cart, Order

T = TypeVar("T")

# JSON has numbers of any size, the wire has 64 bits.
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1

# More than the core keeps of a text, so that it counts what it cuts; what is longer could make the event too large to be read.
_SHORT = 4_097


def encode(value: object) -> str:
    """JSON, with `?` for halves of surrogate pairs that stand alone, which UTF-8 can't say."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode("utf-8")


def short(text: T) -> T | str:
    """A text's beginning: all that can be kept of it. What is no text is for the core to refuse."""
    return text[:_SHORT] if isinstance(text, str) else text


def properties_of(given: Mapping[Any, Any]) -> dict[str, Any]:
    """Properties; what is None is left out, what is no property is JSON's null, which the core counts as misuse."""
    return {short(str(name)): _value(value) for name, value in given.items() if value is not None}


def _value(value: object) -> Any:
    match value:
        case bool():
            return value
        case Enum():
            return _value(value.value)
        case str():
            return short(str(value))
        case int():
            return int(value) if _SMALLEST <= value <= _LARGEST else _digits(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case datetime():
            return _timestamp(value)
        case date():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case _:
            return None


def _timestamp(value: datetime) -> dict[str, int] | None:
    try:
        return {"timestamp": int(value.timestamp() * 1000)}
    except (OverflowError, OSError, ValueError):
        return None


def _digits(value: int) -> str | None:
    try:
        return str(value)
    except ValueError:
        return None  # more digits than Python writes


def order_of(order: Cart | Order) -> dict[str, Any]:
    """A cart or an order."""
    items = [
        _without_none({"sku": item.sku, "name": item.name, "price": item.price, "quantity": item.quantity})
        for item in order.items
    ]
    return _without_none({"id": order.id, "currency": order.currency, "value": order.value, "items": items})


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}

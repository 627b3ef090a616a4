"""The client of Wakeline, first-party clickstream analytics.

    import wakeline

    with wakeline.configure(key="YOUR-WRITE-KEY", collector="https://YOUR-COLLECTOR", data_dir="/var/lib/shop/wakeline") as client:
        client.track("newsletter", place="footer")

All calls may come from any thread, and from processes that were forked afterwards. After `configure` none raises, and none
waits for a network; calls that record say True if the event was taken: it is on disk within half a second and leaves as
soon as it can. What can't be an event is refused, counted in `status`, and told to the collector. Money is in minor units
(cents).
"""

from wakeline._client import Wakeline, configure
from wakeline._ffi.wakeline_mobile import ConfigError
from wakeline._status import Status
from wakeline.commerce import Cart, Item, Order, Product
from wakeline.transport import Answer, Request, Transport, UrllibTransport

__all__ = [
    "Answer",
    "Cart",
    "ConfigError",
    "Item",
    "Order",
    "Product",
    "Request",
    "Status",
    "Transport",
    "UrllibTransport",
    "Wakeline",
    "configure",
]

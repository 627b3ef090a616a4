"""A process that records until it is killed, and says what it recorded as soon as the call returned; `drain FOLDER` sends
what it left behind. Twenty events have a name in common, and each fiftieth is an order."""

from __future__ import annotations

import itertools
import os
import sys
import time

import wakeline
from wakeline import Item, Order

mode, folder = sys.argv[1:]
client = wakeline.configure(key=os.environ["WAKELINE_KEY"], collector=os.environ["WAKELINE_COLLECTOR"], data_dir=folder)
if mode == "drain":
    sent = client.flush(60)
    print(client.status(), flush=True)
    client.close()
    sys.exit(0 if sent else 1)
for number in itertools.count():
    if number % 50 == 49:
        client.order(Order(f"load-{number}", "EUR", 100, [Item("A", 100)]))
        print("order", number, flush=True)
    else:
        client.track(f"load-{number // 20}")
        print("event", number, flush=True)
    time.sleep(0.001)  # some hundred a second: more than a script records, less than fills the queue

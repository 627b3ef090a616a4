"""Does what the core asks for, on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time

from wakeline._ffi.wakeline_mobile import Core, Task
from wakeline.transport import Answer, Request, Transport

_WAITS_MS = 60_000
_AFTER_A_FAILURE_S = 1.0
_NO_ANSWER = Answer(0)
_LOG = logging.getLogger("wakeline")


def start(core: Core, transport: Transport) -> threading.Thread:
    """Starts the thread; it ends when the core is shut down."""
    thread = threading.Thread(target=_run, args=(core, transport), name="wakeline-uploads", daemon=True)
    thread.start()
    return thread


def _run(core: Core, transport: Transport) -> None:
    while True:
        try:
            task = core.next_task(_WAITS_MS)
            if isinstance(task, Task.STOP):
                return
            if isinstance(task, Task.SEND):
                _send(core, transport, task)
        except Exception:
            # A broken native call must neither end the program nor spin.
            _LOG.debug("upload", exc_info=True)
            time.sleep(_AFTER_A_FAILURE_S)


def _send(core: Core, transport: Transport, task: Task.SEND) -> None:
    headers = [(header.name, header.value) for header in task.headers]
    try:
        answer = transport(Request(task.url, headers, task.body))
    except Exception:
        # Whatever a program's transport raises: the core tries again later.
        _LOG.debug("no answer from %s", task.url, exc_info=True)
        answer = _NO_ANSWER
    core.task_done(task.id, answer.status, answer.retry_after, answer.body)

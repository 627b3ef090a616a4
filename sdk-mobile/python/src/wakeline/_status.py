"""What became of what was recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """What became of all that was recorded since the client was opened, in this process."""

    recorded: int = 0
    """Events that were taken, the SDK's own (engagement, misuse) included."""
    queued: int = 0
    """Events that wait to be sent."""
    accepted: int = 0
    """Events that the collector took."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Events that the collector refused, by its reasons."""
    refused: dict[str, int] = field(default_factory=dict)
    """Calls that can't be events, by reasons."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Events that were too many, too old, poison or forgotten, by reasons."""
    restored: int = 0
    """Events that an earlier process left."""
    corrupt: int = 0
    """Events that the disk had lost."""
    misuse: dict[str, int] = field(default_factory=dict)
    """Properties and texts that were mended or left out, by problems."""
    on_disk: bool = False
    """Whether the queue is on disk: if not, `storage_error` says why."""
    storage_error: str = ""
    """Why the queue is in memory; empty if it is not."""
    stopped: int = 0
    """401 or 403 while the collector refuses the key: everything is kept, and `reconfigure` goes on; else 0."""
    install: str = ""
    """The visitor's id on this device."""

    @classmethod
    def of(cls, text: str) -> Status:
        """What the core says of itself."""
        status = json.loads(text)
        return cls(
            recorded=status["recorded"],
            queued=status["queued"],
            accepted=status["accepted"],
            rejected=status["rejected"],
            refused=status["refused"],
            dropped=status["dropped"],
            restored=status["restored"],
            corrupt=status["corrupt"],
            misuse=status["misuse"],
            on_disk=status["storage"] == "disk",
            storage_error=status["storage_error"],
            stopped=status["stopped"],
            install=status["install"],
        )

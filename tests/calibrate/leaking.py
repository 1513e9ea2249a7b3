"""`agentstorm` with a leak: every second it keeps ``LEAK_PIECES`` more texts of ``LEAK_BYTES`` bytes."""

from __future__ import annotations

import os
import threading
import time

from harness.cli import main


def leak(pieces: int, size: int) -> None:
    """Leak until the process ends."""
    leaked, due = [], time.monotonic()
    while True:
        leaked.extend([bytes(size) for _ in range(pieces)])
        due += 1
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    numbers = (int(os.environ[name]) for name in ("LEAK_PIECES", "LEAK_BYTES"))
    threading.Thread(target=leak, args=tuple(numbers), daemon=True).start()
    main()

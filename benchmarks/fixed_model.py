"""The model server with a model that takes as long as it is told: `python -m benchmarks.fixed_model SECONDS` and what `python -m serving` takes.

It waits and computes nothing, so that a busy machine does not make it slower. For measurements alone: the product has no such thing.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from serving import __main__ as server
from serving.inference.session import Session

if __name__ == "__main__":
    SECONDS = float(sys.argv.pop(1))
    run = Session.run

    def slow(self: Session, feeds: Any, options: Any = None) -> Any:
        """The graph's own answer, later."""
        time.sleep(SECONDS)
        return run(self, feeds, options)

    Session.run = slow  # pyright: ignore[reportAttributeAccessIssue]
    server.main()

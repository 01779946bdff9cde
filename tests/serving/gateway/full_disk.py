"""`python -m tests.serving.gateway.full_disk HOME PORT`: a gateway whose disk is full as long as HOME/full is there.

`HOME/full` holds an errno's number. Everything else is the product's own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from serving.gateway.app import serve
from serving.gateway.scribe import Scribe
from serving.records import Prediction, Records


class Filling(Scribe):
    """A writer that cannot write while the file is there."""

    home: Path

    async def append(self, predictions: Sequence[Prediction]) -> None:
        file = self.home / "full"
        if file.exists():
            number = int(file.read_text())
            raise OSError(number, os.strerror(number), "records.db")
        await super().append(predictions)


if __name__ == "__main__":
    Filling.home = Path(sys.argv[1])
    asyncio.run(serve(Filling.home, int(sys.argv[2]), Records.at(Filling.home), Filling(Filling.home)))

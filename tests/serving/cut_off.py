"""Work done by a process of its own, which may be killed -9 on the way: forked, for an interpreter would import for longer than it works."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable

FORKED = multiprocessing.get_context("fork")


def by_another(work: Callable[[], object]) -> int | None:
    """The exit code of a process that does `work`; None where it does not end."""
    process = FORKED.Process(target=work)
    process.start()
    try:
        process.join(60)
        return process.exitcode
    finally:
        process.kill()
        process.join()


def killed_after(holder: object, name: str, work: Callable[[], object]) -> int | None:
    """The same of one that is killed -9 as soon as `holder.name` was done in it: -SIGKILL where it was."""

    def run() -> None:
        step = getattr(holder, name)

        def cut_off(*arguments: object, **named: object) -> None:
            step(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(holder, name, cut_off)  # in this process alone
        work()

    return by_another(run)

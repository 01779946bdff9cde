"""`python -m training.explain`: the process that explains answers, one at a time. A question is a line of JSON on standard input, its
answer one on standard output; nobody else can reach it.

It ends by itself where nothing is asked for a while, and at once where its input ends: it never outlives the gateway that started it. A
model's folder is read only after its digest was found to be the one that was asked for, and found so again once it is loaded. Who signed
it is asked by whoever asks the question.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from data.errors import UserError
from data.files import finite
from training.explain.loaded import Loaded

log = logging.getLogger("aiprime.explain")
_NICE = 5  # predictions come first; with 10 it starves on a busy machine (docs/log.md)
EXHAUSTED = 3  # exit status: it held more memory than it may
_HELD = Path("/proc/self/statm")
_LOOK_S = 0.05


def main() -> None:
    """Answer until the input ends or falls silent."""
    options = _options()
    if options.memory_mb:
        threading.Thread(target=_watch, args=(options.memory_mb << 20,), daemon=True).start()
    os.nice(_NICE)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    questions: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(sys.stdin, questions), daemon=True).start()
    serve(questions, answers, options.idle_seconds)


def serve(questions: queue.Queue[str], answers: TextIO, idle_s: float) -> None:
    """Answer what is in the queue, until it is empty for `idle_s`."""
    loaded = Loaded()
    while True:
        try:
            line = questions.get(timeout=idle_s)
        except queue.Empty:
            log.info("nothing was asked for %.0f s: ending", idle_s)
            return
        answers.write(json.dumps(finite(answered(loaded, line)), ensure_ascii=False, allow_nan=False) + "\n")
        answers.flush()


def answered(loaded: Loaded, line: str) -> dict[str, Any]:
    """The answer to one question; a mistake of the asker's is `{"error": ...}`, one of ours `{"failed": ...}`."""
    try:
        question = json.loads(line)
        if question.get("do") == "explain":
            explanation = loaded.explainer(question).explain(question["row"], wanted=question.get("wanted"))
            return {"explanation": asdict(explanation)}
        return {"document": exported(question["walk"], question["do"])}
    except UserError as error:
        return {"error": error.what, "next": error.next_step}
    except MemoryError:
        return {"error": "the explanation needs more memory than it is given"}
    except Exception as error:
        log.exception("a question could not be answered")
        return {"failed": f"{type(error).__name__}: {error}"[:500]}


def exported(walk: Mapping[str, Any], kind: str) -> str:
    """The whole walk as a document of another standard: "prov-json", "prov-n" or "openlineage"."""
    from training import lineage

    return lineage.document(walk, kind)


def _read(lines: TextIO, questions: queue.Queue[str]) -> None:
    for line in lines:
        questions.put(line)
    os._exit(0)  # who asks is gone, and whatever is being computed with it


def _watch(most: int) -> None:
    """End the process where it holds more than `most` bytes. (A limit of its address space or data counts what is only reserved: the
    libraries reserve 1.6 GB to use 0.6.) Linux alone tells; elsewhere nothing is watched."""
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        while int(_HELD.read_text().split()[1]) * page < most:
            time.sleep(_LOOK_S)
    except OSError:
        return
    sys.stderr.write(f"more than {most >> 20} MB are held: ending\n")
    os._exit(EXHAUSTED)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.explain", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--idle_seconds", type=float, default=300.0, help="ends after so long without a question (default: 300)"
    )
    parser.add_argument("--memory_mb", type=int, default=0, help="it ends where it holds more; 0: no limit")
    return parser.parse_args()


if __name__ == "__main__":
    main()

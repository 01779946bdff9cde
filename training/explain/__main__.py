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
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from data.errors import UserError
from data.files import finite, tree_digest

if TYPE_CHECKING:
    from training.explain.explanation import Explainer

log = logging.getLogger("aiprime.explain")
_LOADED = 2  # versions that are kept in memory
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


class Loaded:
    """The versions that were asked last."""

    def __init__(self) -> None:
        self._explainers: OrderedDict[tuple[str, str], Explainer] = OrderedDict()

    def explainer(self, question: Mapping[str, Any]) -> Explainer:
        """The version's, its folder verified when it is loaded. UserError where the folder is not the one that `digest` names."""
        from training.explain import background
        from training.explain.explanation import Explainer
        from training.signature import Signature

        key = question["folder"], question["digest"]
        if key not in self._explainers:
            folder = Path(question["folder"])
            verify(folder, question["digest"])
            usual = background.read(Path(question["background"]), Signature.read(folder))
            while len(self._explainers) >= _LOADED:
                self._explainers.popitem(last=False)
            loaded = Explainer(folder, usual)
            verify(folder, question["digest"])  # again: what was loaded is what was checked, whoever wrote there in between
            self._explainers[key] = loaded
        self._explainers.move_to_end(key)
        return self._explainers[key]


def verify(folder: Path, digest: str) -> None:
    """UserError where the folder's files are not those that `digest` names; nothing of them is parsed."""
    if not folder.is_dir():
        raise UserError("the model's files are gone", where=str(folder), next_step="aiprime gc deletes those of old versions")
    try:
        found = tree_digest(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"the model's files cannot be read: {error}") from error
    if found != digest:
        raise UserError("the model's files are not the ones that answered: they were changed since", where=str(folder))


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

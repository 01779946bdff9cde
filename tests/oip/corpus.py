"""`corpus.yaml`, read: each case as the request that goes over the wire for one target."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.oip.target import Target
from tests.oip.wire import Told

FILE = Path(__file__).with_name("corpus.yaml")
KEYS = {
    "name",
    "expect",
    "needs",
    "set",
    "drop",
    "add",
    "twice",
    "text",
    "body",
    "repeat",
    "closing",
    "hex",
    "method",
    "path",
    "headers",
    "wire",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One malformed request; `stated` is its line of the file."""

    name: str
    expect: str
    stated: dict[str, Any]

    def applies(self, target: Target) -> bool:
        """Whether the target's first input is what the case needs."""
        first = target.metadata["inputs"][0]["datatype"]
        needs = self.stated.get("needs")
        return needs is None or (needs == "float" and first.startswith("FP")) or needs == first.lower()

    def send(self, target: Target) -> Told:
        """What the server says."""
        if "wire" in self.stated:
            return target.wire.raw(self._wire(target))
        path = _filled(self.stated.get("path", "{infer}"), target)
        headers = {name: _filled(value, target) for name, value in self.stated.get("headers", {}).items()}
        return target.wire.ask(self.stated.get("method", "POST"), path, self._body(target), headers)

    def kept(self, told: Told) -> bool:
        """Whether the status is what it must be."""
        return str(told.status) == self.expect or f"{told.status // 100}xx" == self.expect

    def _wire(self, target: Target) -> bytes:
        body = self._body(target).decode("latin-1")
        more = {"{body}": body, "{length}": str(len(body)), "{host}": f"{target.wire.host}:{target.wire.port}"}
        more |= {"{headers}": "".join(f"X-{n}: {n}\r\n" for n in range(100_000)) if "{headers}" in self.stated["wire"] else ""}
        text = _filled(self.stated["wire"], target)
        for mark, value in more.items():
            text = text.replace(mark, value)
        return text.encode("latin-1")

    def _body(self, target: Target) -> bytes:
        stated = self.stated
        if "hex" in stated:
            return bytes.fromhex(stated["hex"])
        if "repeat" in stated:
            before, unit, times, after = stated["repeat"]
            closing = stated["closing"] * times + "}" if "closing" in stated else ""
            return (_first(before, target) + unit * times + closing + after).encode()
        if "body" in stated:
            return stated["body"].encode()
        document = copy.deepcopy(target.request())
        for path, value in stated.get("set", {}).items():
            _at(document, path)[_key(path)] = value
        if "drop" in stated:
            del _at(document, stated["drop"])[_key(stated["drop"])]
        if "add" in stated:
            _at(document, stated["add"]["to"])[_key(stated["add"]["to"])].append(stated["add"]["value"])
        if "twice" in stated:
            _at(document, stated["twice"]).append(_at(document, stated["twice"])[_key(stated["twice"])])
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        if "text" in stated:
            old, new = stated["text"]
            if old not in text:
                raise ValueError(f"{self.name}: {old!r} is not in {text[:200]}")
            text = text.replace(old, new, 1)
        return text.encode()


def cases() -> list[Case]:
    """All of them; ValueError where the file is not what it should be."""
    found = [
        Case(name=str(one["name"]), expect=str(one.get("expect", "4xx")), stated=one)
        for one in yaml.safe_load(FILE.read_text("utf-8"))
    ]
    names = [case.name for case in found]
    unknown = {key for case in found for key in case.stated} - KEYS
    if len(set(names)) != len(names) or unknown:
        raise ValueError(f"{FILE.name}: names given twice, or unknown keys {sorted(unknown)}")
    return found


def _key(path: str) -> Any:
    last = path.rpartition(".")[2]
    return int(last) if last.isdigit() else last


def _at(document: Any, path: str) -> Any:
    """What holds the last step of the path."""
    for step in path.split(".")[:-1]:
        document = document[int(step) if step.isdigit() else step]
    return document


def _first(text: str, target: Target) -> str:
    return text.replace("@first", target.metadata["inputs"][0]["name"])


def _filled(text: str, target: Target) -> str:
    marks = {
        "{infer}": f"{target.path}/infer",
        "{name}": target.model,
        "{long}": "m" * 9000,
        "{nines}": "9" * 5000,
        "{megabyte}": "a" * (1 << 20),
    }
    for mark, value in marks.items():
        if mark in text:
            text = text.replace(mark, value)
    return text

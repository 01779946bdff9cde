"""How contents are stored: raw deflate, level 1, with a preset dictionary per workload, version and form.

Chosen by measurement, on requests of 19 to 44 inputs with a forecast's answer (1.8 to 2.1 kB; bytes and CPU per prediction, 2-core machine):
zlib's defaults 707-781 B and 23-30 us; a window of 4 kB without a dictionary the same bytes in 25 us; with one 550-645 B in 19 us (level 3: 5 %
less for 3 us more, level 6: 10 % less for 10 us more). Reading back takes 8 us. zstd, which knows no dictionary here, took 693-769 B and 15-33 us alone.

The dictionary holds the names that come again in each request, and no value of any: it must outlive what is erased.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from serving.records.prediction import Prediction

LEVEL = 1
_WINDOW = -12  # 4 kB, raw: the digest already guards the content
_MEMORY = 5
_LONGEST = 3800  # of a dictionary: what the window holds, less what deflate keeps for itself
_NAMES = ("name", "datatype")  # of a v2 tensor; every other text may be a person's


class Packer:
    """Packs and unpacks with one dictionary. Made once per dictionary: a copy costs a fifth of a new one."""

    def __init__(self, number: int, dictionary: bytes) -> None:
        self.number = number
        self._dictionary = dictionary
        self._fresh = zlib.compressobj(LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, dictionary)

    def pack(self, content: bytes) -> bytes:
        """The content as it is stored."""
        packing = self._fresh.copy()
        return packing.compress(content) + packing.flush()

    def unpack(self, stored: bytes) -> bytes:
        """The content again; ValueError where it was not packed so."""
        unpacking = zlib.decompressobj(_WINDOW, zdict=self._dictionary)
        try:
            content = unpacking.decompress(stored)
        except zlib.error as error:
            raise ValueError(f"the content cannot be unpacked: {error}") from None
        if not unpacking.eof or unpacking.unused_data:
            raise ValueError("the content cannot be unpacked: it does not end where it should")
        return content


def dictionary_for(prediction: Prediction) -> bytes:
    """What the predictions of the same workload, version and form have in common with this one; b"" where that is unknown."""
    head = prediction.request[: int(prediction.form[3:])] if prediction.form.startswith("v2/") else prediction.request
    parts = []
    for body in (head, _json_of(prediction.answer)):
        try:
            parts.append(orjson.dumps(_skeleton(orjson.loads(body))))
        except orjson.JSONDecodeError:  # an error page, or no answer at all
            continue
    return b"".join(parts)[-_LONGEST:]


def _json_of(answer: bytes) -> bytes:
    """An answer without the raw tensors that may follow its JSON."""
    try:
        _, end = json.JSONDecoder().raw_decode(answer.decode("latin1"))
    except ValueError:
        return answer
    return answer[:end]


def _skeleton(value: Any) -> Any:
    """The document with one row, and its values emptied."""
    if not isinstance(value, Mapping):
        return _emptied(value)
    return {
        key: [_tensor(one) for one in part] if key in {"inputs", "outputs"} and isinstance(part, list) else _emptied(part)
        for key, part in value.items()
    }


def _tensor(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _emptied(value)
    named = {key: value[key] for key in _NAMES if isinstance(value.get(key), str)}
    return {key: named.get(key, _emptied(part)) for key, part in value.items()}


def _emptied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _emptied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_emptied(part) for part in value[:1]]
    return "" if isinstance(value, str) else 0 if isinstance(value, int | float) and not isinstance(value, bool) else value

"""`aiprime why`: the walk from one answer back to all that it came from, as text, as JSON, or as a document of another standard.

It reads the home itself, so it answers where no gateway runs; the model is asked in this very process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import Any

from data.errors import UserError
from data.files import write_atomically
from data.places import Places
from serving.explainer import refuse_unsigned
from serving.why import Walk, Why, plain

_SHOWN = 10  # inputs
_WIDE = 110
_BAR = 24
Facts = Mapping[str, Any]


def why(places: Places, prediction_id: str, *, role: str | None, wanted: str | None, explain: bool) -> dict[str, Any]:
    """The walk and, where `explain`, the explanation of the answer (of one horizon or class where `wanted`), as plain values.

    UserError where no such prediction is known. What cannot be explained says why under `unexplained`.
    """
    walk = Why.at(places.home).walk(prediction_id, role)
    explanation, unexplained = None, walk.unexplained
    if explain and walk.question is not None:
        try:
            explanation = _explanation(places, walk, wanted)
        except UserError as error:
            unexplained = error.what
    return plain(walk, explanation) | {"unexplained": unexplained}


def write(found: Facts, file: Path, kinds: tuple[str, ...]) -> None:
    """The walk as a document; the kind follows from the file's name. UserError where it names none."""
    from training import lineage

    suffixes = {".json": "prov-json", ".provn": "prov-n"} if "prov-json" in kinds else {".json": "openlineage"}
    kind = suffixes.get(file.suffix)
    if kind is None:
        raise UserError(f"{file.name}: no kind of document", next_step=f"end its name in {' or '.join(suffixes)}")
    write_atomically(file, lineage.document(json.loads(json.dumps(found, default=str)), kind))


def _explanation(places: Places, walk: Walk, wanted: str | None) -> dict[str, Any]:
    from training.explain.loaded import Loaded

    question = walk.question
    if question is None:
        raise UserError(walk.unexplained)
    refuse_unsigned(places.home, question)
    return asdict(Loaded().explainer(asdict(question)).explain(question.row, wanted=wanted))


def text(found: Facts) -> str:
    """The walk for a terminal; what other people wrote cannot command it."""
    row = f", row {found['row']} of {found['rows']}" if found["rows"] > 1 else ""
    lines = [
        f"{found['workload']}: prediction {found['prediction_id']}{row}, answered as {found['role']} by version {found['version']}"
    ]
    lines += [f"  {_predicted(one)}" for one in found["predicted"]]
    for number, step in enumerate(found["steps"], 1):
        lines += ["", f"{number:>2}. {step['title']}", _wrapped(step["said"])]
        if step["gone"]:
            lines.append(_wrapped(f"GONE: {step['gone']}"))
        lines.append(
            f"    [{step['source']}]" + "".join(f"  {url}" for url in step["links"].values() if url.startswith("http"))
        )
    lines += ["", *_explained(found)]
    lines += [
        f"\n  also answered as {one['role']} by version {one['version']}: --role {one['role']}" for one in found["others"]
    ]
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in "\n".join(lines)
    )


def _wrapped(said: str) -> str:
    return fill(said, _WIDE, initial_indent="    ", subsequent_indent="    ")


def _predicted(one: Facts) -> str:
    if "label" in one:
        return f"{one['label']}" + (f" ({one['confidence']:.1%})" if "confidence" in one else "")
    when = f" for {one['target_time'][:16].replace('T', ' ')}" if "target_time" in one else ""
    spread = f"  ({one['low']:.5g} to {one['high']:.5g}, 8 times of 10)" if "low" in one and "high" in one else ""
    return f"{one['prediction']:.6g}{when}{spread}"


def _explained(found: Facts) -> list[str]:
    explanation = found["explanation"]
    if explanation is None:
        return ["What moved this answer", _wrapped(found["unexplained"] or "not asked for")]
    lines = []
    for one in explanation["answers"]:
        lines += [f"What moved the {one['name']}", f"    usually {one['base']:.5g}, here {one['answer']:.5g}"]
        most = max((abs(each["shap"]) for each in one["inputs"]), default=1.0) or 1.0
        lines += [_weight(each, most) for each in one["inputs"][:_SHOWN]]
        if rest := one["inputs"][_SHOWN:]:
            lines.append(f"    {sum(each['shap'] for each in rest):>+10.4g}  the other {len(rest)} inputs together")
        for picture in one["pictures"]:
            lines.append(
                f"    {picture['name']}: a picture of {len(picture['pixels'])} x {len(picture['pixels'][0])}; the page /why/ID shows which parts mattered"
            )
        rank = one["agreement"]["rank"]
        agreed = "" if rank is None else f" (rank correlation {rank:.2f})"
        lines += [_wrapped(f"{one['agreement']['said']}{agreed}"), ""]
    return [*lines, f"    {explanation['method']}; second opinion: {explanation['second']}"]


def _weight(one: Facts, most: float) -> str:
    bar = "#" * round(_BAR * abs(one["shap"]) / most)
    return f"    {one['shap']:>+10.4g}  {bar:<{_BAR}}  {one['label']} = {one['value']} (usually {one['usual']})"

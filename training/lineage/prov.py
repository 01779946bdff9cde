"""prov's door: the walk as a W3C PROV document (PROV-DM, 2013), as PROV-JSON or PROV-N.

Entities are what there was (request, answer, model, data, label), activities what was done (answering, training, gating, registering),
agents who did it or decided it. What the walk says is gone is an entity with `ap:gone`, without a guess at the rest of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prov.model import ProvDocument

NAMESPACE = "urn:aiprime:"
Facts = Mapping[str, Any]
_LONGEST = 2000  # characters of one attribute
_PLAIN = (str, int, float, bool)


def text(walk: Facts, form: str) -> str:
    """`form` is "json" or "provn"."""
    made = document(walk)
    if form == "provn":
        return made.get_provn(strict=True) + "\n"
    written = StringIO()
    made.serialize(written, format="json", indent=1)
    return written.getvalue() + "\n"


def document(walk: Facts) -> ProvDocument:
    """The walk as records. ProvException where the records contradict each other (PROV-CONSTRAINTS' keys: merged, not only listed)."""
    from prov.model import ProvDocument

    found = ProvDocument()
    found.add_namespace("ap", NAMESPACE)
    _Writer(found, walk).write()
    found.unified()
    return found


class _Writer:
    def __init__(self, document: ProvDocument, walk: Facts) -> None:
        self._document, self._walk = document, walk
        self._steps: dict[str, Facts] = {one["name"]: one for one in walk["steps"]}
        self._workload, self._version = walk["workload"], walk["version"]
        self._id = f"{walk['prediction_id']}/{walk['row']}"

    def write(self) -> None:
        """All records."""
        at = _time(self._walk["at"])
        model, gateway = self._model(), self._agent("gateway", "software")
        asked = self._entity("request", f"request/{self._id}", "request")
        shown = {"ap:predicted": _short(self._walk["predicted"])} if self._walk["predicted"] else {}
        answer = self._document.entity(
            self._name(f"answer/{self._id}/{self._walk['role']}"),
            self._attributes("ap:Answer", {**shown, "ap:status": self._walk["status"]}),
        )
        answering = self._document.activity(self._name(f"answering/{self._id}/{self._walk['role']}"), None, at)
        self._document.usage(answering, asked)
        self._document.usage(answering, model)
        self._document.generation(answer, answering, at)
        self._document.association(answering, gateway)
        self._document.derivation(answer, asked, answering)
        self._document.derivation(answer, model)
        self._decision(answering)
        self._features(answering)
        self._label(answer)

    def _model(self) -> Any:
        """The version, and all that it came from."""
        about = self._facts("model")
        model = self._entity("model", f"model/{self._workload}/{self._version}", "model", {"ap:digest": about.get("digest")})
        training = self._document.activity(
            self._name(f"training/{self._workload}/{self._version}"),
            other_attributes=self._attributes("ap:Training", {"ap:mlflow_run": self._facts("run").get("run_id")}),
        )
        data = self._facts("data").get("data_version")
        dataset = self._entity("data", f"dataset/{self._workload}/{data or 'unknown'}", "data", {"ap:dvc": data})
        code = self._facts("code")
        source = self._entity(
            "code",
            f"code/{code.get('git_commit', 'unknown')}/{code.get('git_changes', 'unknown')}",
            "code",
            {"ap:git_commit": code.get("git_commit"), "ap:git_changes": code.get("git_changes")},
        )
        for used in (dataset, source):
            self._document.usage(training, used)
            self._document.derivation(model, used, training)
        self._document.generation(model, training)
        self._document.association(training, self._agent("orchestrator", "software"))
        self._judged(model, dataset)
        return model

    def _judged(self, model: Any, dataset: Any) -> None:
        """Checks, gate, signature."""
        checks, verdict = self._facts("checks"), self._facts("gate")
        checking = self._document.activity(
            self._name(f"checking/{self._workload}/{self._facts('data').get('data_version') or 'unknown'}"),
            other_attributes=self._attributes(
                "ap:Checking", {"ap:checks": checks.get("checks"), "ap:held": checks.get("held")}
            ),
        )
        self._document.usage(checking, dataset)
        gating = self._document.activity(
            self._name(f"gating/{self._workload}/{self._version}/{verdict.get('judged', 'unknown')}")
        )
        self._document.usage(gating, model)
        if verdict.get("against"):
            self._document.usage(gating, self._document.entity(self._name(f"model/{self._workload}/{verdict['against']}")))
        said = {"ap:verdict": verdict.get("verdict"), "ap:passed": verdict.get("passed")}
        outcome = self._entity(
            "gate", f"verdict/{self._workload}/{self._version}/{verdict.get('judged', 'unknown')}", "gate", said
        )
        self._document.generation(outcome, gating)
        self._document.communication(gating, checking)
        signature = self._facts("signature")
        if signature.get("key"):
            key = self._agent(f"key/{signature['key']}", "software")
            signed = self._entity(
                "signature",
                f"signature/{self._workload}/{self._version}",
                "signature",
                {"ap:statement": signature.get("statement")},
            )
            self._document.attribution(signed, key)
            self._document.derivation(signed, model)

    def _decision(self, answering: Any) -> None:
        """The ledger's decision is the plan by which the gateway chose."""
        found = self._facts("decision")
        if not found.get("decision"):
            return
        about = {"ap:reason": found.get("reason"), "ap:role": found.get("role"), "ap:share": found.get("share")}
        plan = self._entity("decision", f"decision/{found['decision']}", "decision", about)
        who = self._agent(
            f"who/{found.get('decided_by', 'unknown')}", "person" if found.get("decided_by") == "person" else "software"
        )
        deciding = self._document.activity(self._name(f"deciding/{found['decision']}"), None, _time(found["decided_at"]))
        self._document.generation(plan, deciding, _time(found["decided_at"]))
        self._document.association(deciding, who)
        self._document.usage(answering, plan)

    def _features(self, answering: Any) -> None:
        found = self._facts("features")
        if found.get("known_at"):
            about = {
                "ap:known_at": found["known_at"],
                "ap:entity": found.get("entity"),
                "ap:values": _short(found.get("values")),
            }
            row = self._entity(
                "features", f"features/{self._workload}/{found.get('entity') or 'only'}/{found['known_at']}", "features", about
            )
            self._document.usage(answering, row)

    def _label(self, answer: Any) -> None:
        for number, one in enumerate(self._facts("label").get("labels", ())):
            about = {"ap:value": one["value"], "ap:about": one["about"]}
            label = self._document.entity(self._name(f"label/{self._id}/{number}"), self._attributes("ap:Label", about))
            self._document.attribution(label, self._agent(f"who/{one['told_by']}", "person"))
            self._document.influence(label, answer)

    def _entity(self, step: str, name: str, kind: str, about: Facts | None = None) -> Any:
        found = self._steps[step]
        facts = {"prov:label": found["title"], "ap:source": found["source"], "ap:gone": found["gone"], **(about or {})}
        return self._document.entity(self._name(name), self._attributes(f"ap:{kind.capitalize()}", facts))

    def _agent(self, name: str, kind: str) -> Any:
        return self._document.agent(
            self._name(name), {"prov:type": self._document.valid_qualified_name(f"prov:{_KINDS[kind]}")}
        )

    def _attributes(self, kind: str, facts: Facts) -> dict[str, Any]:
        known = {name: value for name, value in facts.items() if isinstance(value, _PLAIN) and value != ""}
        return {"prov:type": self._document.valid_qualified_name(kind), **known}

    def _facts(self, step: str) -> Facts:
        return self._steps[step]["facts"]

    def _name(self, local: str) -> Any:
        """A name of our own: other people's text may stand in it, so what PROV-N's names do not allow is percent-encoded."""
        from urllib.parse import quote

        return self._document.valid_qualified_name("ap:" + quote(local, safe="/").replace("~", "%7E"))


_KINDS = {"software": "SoftwareAgent", "person": "Person"}


def _short(value: Any) -> str:
    found = json.dumps(value, ensure_ascii=False, default=str)
    return found if len(found) <= _LONGEST else f"{found[: _LONGEST - 1]}…"


def _time(iso: str) -> datetime:
    return datetime.fromisoformat(iso)

"""Registration: every candidate is registered with its verdict, and the same bytes never get two versions."""

import shutil
from pathlib import Path

import pytest

from assets import registration
from data.cutoff import Cutoff
from data.files import sha256
from serving import manifests
from serving.ledger import Ledger
from serving.trust.refusal import Untrusted
from tests.assets.judged import DAYS, Workload, at

pytestmark = pytest.mark.slow
CUT = Cutoff(until=at(DAYS), window_s=60 * 86_400, reason="windows 7 and 8", sequence=9)


@pytest.fixture
def hand(judged: Workload, tmp_path: Path) -> Workload:
    return judged.copied(tmp_path)


def registered(hand: Workload) -> list[str]:
    return [one.version for one in hand.here.ledger.history("hand", "registered")]


def test_a_refused_candidate_is_registered_with_its_verdict(hand: Workload):
    """The record says passed or refused, on which windows, against whom, by which cutoff and why it was made; MLflow's tags too."""
    hand.fit(1.5)
    champion = hand.promote()
    hand.fit(1.2, CUT)
    record = hand.register()
    told = record.payload
    assert (record.version, told["passed"], told["against"]) == ("2", False, champion)
    assert told["verdict"].startswith("refused: it is worse than the champion")
    assert {"holdout", "newest"} == {one["window"] for one in told["comparisons"]}
    assert told["gate_window"][0] == at(340).isoformat()
    assert told["cutoff"] == {
        "until": "2021-02-04T00:00:00Z",
        "window_s": 5_184_000,
        "reason": "windows 7 and 8",
        "sequence": 9,
    }
    tags = hand.here.mlflow.versions["2"]
    assert (tags["gate"], tags["cutoff_reason"], tags["cutoff_sequence"]) == ("refused", "windows 7 and 8", "9")


def test_the_same_bytes_are_one_version(hand: Workload):
    """Registering again, also after another model, gives the first version and writes no record."""
    hand.fit(1.5)
    first = hand.register()
    hand.fit(1.4)
    assert hand.register().version == "2"
    hand.fit(1.5)
    assert hand.register() == first
    assert registered(hand) == ["1", "2"]
    assert list(hand.here.mlflow.versions) == ["1", "2"]


def test_a_crash_between_mlflow_and_the_ledger_leaves_one_version(hand: Workload, monkeypatch: pytest.MonkeyPatch):
    """Where the record could not be written, the next run takes the version that MLflow already holds."""
    hand.fit(1.5)
    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "record", lambda *_, **__: (_ for _ in ()).throw(OSError("the power is gone")))
        with pytest.raises(OSError, match="power"):
            hand.register()
    assert hand.register().version == "1"
    assert list(hand.here.mlflow.versions) == ["1"]


def test_another_serve_section_is_another_version_of_the_same_bytes(hand: Workload):
    """A version's manifest never changes: a new `serve:` makes a new version."""
    hand.fit(1.5)
    first = hand.register()
    hand.write(serve="{replicas: 2}")
    hand.fit(1.5)
    second = hand.register()
    assert (second.version, second.payload["model_digest"]) == ("2", first.payload["model_digest"])
    folder = hand.here.places.models("hand")
    assert (folder / "1.yaml").read_text() != (folder / "2.yaml").read_text()


def test_another_verdict_on_the_same_bytes_is_recorded(hand: Workload):
    """A model that was refused, and passes under other rules, keeps its version; the newest record of it says that it passed."""
    hand.fit(1.5)
    hand.promote()
    hand.fit(1.49)
    assert not hand.register().payload["passed"]
    hand.write(promote="{tolerance: 10}")
    hand.fit(1.49)
    again = hand.register()
    assert (again.version, again.payload["passed"]) == ("2", True)
    assert registered(hand) == ["1", "2", "2"]
    assert hand.here.mlflow.versions["2"]["gate"] == "passed"
    assert hand.register() == again
    assert hand.here.ledger.verify() is None


def test_files_that_are_gone_are_made_again_and_damaged_ones_refused(hand: Workload):
    """The served copy is the judged model: missing it is copied anew, changed it is never taken for it."""
    hand.fit(1.5)
    version = hand.register().version
    copy = hand.here.places.models("hand", version)
    shutil.rmtree(copy)
    hand.register()
    assert copy.with_suffix(".yaml").is_file()
    (copy / "model.json").write_text("{}")
    with pytest.raises(RuntimeError, match="not the judged model"):
        hand.register()


def test_the_record_knows_the_manifest(hand: Workload):
    """The manifest's bytes are on record; edited between registration and promotion it is cleared by nobody, however often one registers."""
    hand.fit(1.5)
    registered_as = hand.register()
    file = manifests.file(hand.here.places.home, "hand", "1")
    assert registered_as.payload["manifest"] == sha256(file)
    clearance, whole = hand.here.deployment().clearance, file.read_text()
    file.write_text(whole.replace("runAsNonRoot: true", "runAsNonRoot: false"))
    assert hand.register() == registered_as
    with pytest.raises(Untrusted, match="not the one that was registered"):
        clearance.give("hand", "1", reason="test", actor="person")
    file.write_text(whole)
    assert clearance.give("hand", "1", reason="test", actor="person").version == "1"


def test_a_manifest_that_is_made_again_is_cleared(hand: Workload, monkeypatch: pytest.MonkeyPatch):
    """Gone and made again the same, no record is needed; written by newer code it is on record anew, also where that was cut off, or another
    verdict comes with it. What lies there before anything was registered does not count."""
    file = manifests.file(hand.here.places.home, "hand", "1")
    file.parent.mkdir(parents=True)
    file.write_text("left by a run that was cut off")
    hand.fit(1.5)
    first = hand.register()
    clearance = hand.here.deployment().clearance
    assert clearance.give("hand", "1", reason="test", actor="person").version == "1"
    file.unlink()
    assert hand.register() == first
    assert clearance.give("hand", "1", reason="test", actor="person").version == "1"

    plain = manifests.name_of
    monkeypatch.setattr(manifests, "name_of", lambda *named: f"newer-{plain(*named)}")
    file.unlink()
    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "record", lambda *_, **__: (_ for _ in ()).throw(OSError("the power is gone")))
        with pytest.raises(OSError, match="power"):
            hand.register()
    again = hand.register()
    assert (again.version, again.payload) == ("1", {**first.payload, "manifest": sha256(file)})
    assert again.sequence > first.sequence
    assert hand.register() == again
    assert clearance.give("hand", "1", reason="test", actor="person").payload["manifest"] == sha256(file)


def test_scores_are_flat_names_that_mlflow_takes():
    """Nested scores become names with slashes; what is no number is left out, and odd characters are replaced."""
    scores = {
        "metric": "mae",
        "holdout": {"rows": 3, "candidate": {"mae": 1.5, "größe (m²)": 2, "worse": None}},
        "passed": True,
    }
    assert registration._flat(scores) == {
        "holdout/rows": 3.0,
        "holdout/candidate/mae": 1.5,
        "holdout/candidate/gr__e _m__": 2.0,
    }

"""The walk back from one answer: every step says where it comes from, and what is gone is said to be gone."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from data.errors import UserError
from serving.records import Label, by_id
from serving.why import plain
from tests.serving.why.home import RUN, WORKLOAD, Home

STEPS = ["request", "decision", "model", "signature", "run", "code", "data", "features", "checks", "gate", "label"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_every_step_names_its_record(home: Home) -> None:
    """From the request to the truth, in this order, each with a sentence and a source."""
    walk = home.walk(home.answered((1.0, 2.0, 3.0)))
    assert [step.name for step in walk.steps] == STEPS
    assert all(step.said and step.source for step in walk.steps)
    assert walk.step("request").facts["inputs"] == {"n0": 1.0, "n1": 2.0, "n2": 3.0}
    assert walk.step("run").facts["run_id"] == RUN
    assert walk.step("code").facts["git_commit"] == "c" * 40
    assert walk.step("data").facts["data_version"] == walk.step("checks").facts["data_version"] == "d1"
    assert walk.step("gate").facts["verdict"] == "passed: it is better"
    assert walk.predicted == ({"prediction": 6.0},)
    assert walk.question is not None
    assert walk.question.row == {"n0": 1.0, "n1": 2.0, "n2": 3.0}


def test_a_row_of_a_batch_is_its_own_question(home: Home) -> None:
    """ID/N is row N of the request, ID alone the first; a row that is not there is refused."""
    prediction_id = home.answered((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert home.walk(prediction_id).predicted == ({"prediction": 6.0},)
    walk = home.walk(f"{prediction_id}/1")
    assert (walk.row, walk.rows, walk.predicted) == (1, 2, ({"prediction": 15.0},))
    with pytest.raises(UserError, match="there is no row 2"):
        home.walk(f"{prediction_id}/2")


@pytest.mark.parametrize("unknown", ["0190a000-0000-7000-8000-000000000000", "nothing", "", "../../etc/passwd", "x/y"])
def test_an_unknown_id_is_refused(home: Home, unknown: str) -> None:
    """Nobody is told a story of an answer that was never kept."""
    with pytest.raises(UserError, match="no prediction"):
        home.walk(unknown)


def test_the_answer_of_each_role_can_be_asked_for(home: Home) -> None:
    """Without a role it is what the client was given; a shadow says that nobody was."""
    prediction_id = home.answered((1.0, 1.0, 1.0))
    home.answered((1.0, 1.0, 1.0), role="shadow", version="2", id=prediction_id)
    assert home.walk(prediction_id).role == "champion"
    assert home.walk(prediction_id).others[0]["role"] == "shadow"
    shadow = home.walk(prediction_id, "shadow")
    assert "nobody was given this answer" in shadow.step("decision").said
    assert shadow.step("model").gone is not None
    with pytest.raises(UserError, match="in the role 'challenger'"):
        home.walk(prediction_id, "challenger")


def test_a_challengers_answer_names_its_share(home: Home) -> None:
    """The exposure that gave it requests, and how large the share was."""
    home.register("2", "0" * 64)
    release = home.ledger.release(WORKLOAD)
    home.ledger.change("exposed", WORKLOAD, "2", {"step": 1, "share": 0.25}, expected=release.fence)
    walk = home.walk(home.answered((1.0, 1.0, 1.0), role="challenger", version="2"))
    decision = walk.step("decision")
    assert decision.facts["share"] == 0.25
    assert "25% of the requests" in decision.said
    assert decision.facts["decision"] == home.ledger.newest()


def test_the_release_is_that_of_then(home: Home) -> None:
    """A promotion of after the answer is not its reason."""
    early = home.answered((1.0, 1.0, 1.0), at=1_000_000_000.0)
    decision = home.walk(early).step("decision")
    assert decision.gone is not None
    assert "decision" not in decision.facts


def test_what_was_erased_is_gone_and_says_when(home: Home) -> None:
    """Neither inputs nor answer nor explanation are left; the record's place and the erasure are named."""
    prediction_id = home.answered((1.0, 2.0, 3.0), at=time.time())
    home.ledger.record("erased", WORKLOAD, "", {"before": "1999-01-01T00:00:00+00:00"})  # of what came earlier
    erased = home.ledger.record("erased", WORKLOAD, "", {"before": "2200-01-01T00:00:00+00:00", "reason": "retention"})
    home.records.erase(WORKLOAD, before=7_000_000_000.0)
    walk = home.walk(prediction_id)
    gone = walk.step("request").gone or ""
    assert (
        gone == f"erased on {erased.at[:10]} (decision {erased.sequence}, before: 2200-01-01T00:00:00+00:00, reason: retention)"
    )
    assert walk.question is None
    assert "is gone" in walk.unexplained
    assert walk.predicted == ()
    assert "inputs" not in walk.step("request").facts


def test_a_version_whose_files_are_gone_says_so(home: Home) -> None:
    """gc took them: the ledger's facts stay, the files and the explanation do not."""
    prediction_id = home.answered((1.0, 2.0, 3.0))
    shutil.rmtree(home.folder)
    shutil.rmtree(home.home / "monitor")
    walk = home.walk(prediction_id)
    assert "aiprime gc" in (walk.step("model").gone or "")
    assert walk.step("checks").gone is not None
    assert walk.step("code").facts["git_commit"] == "c" * 40
    assert walk.question is None


def test_files_that_were_changed_are_told(home: Home) -> None:
    """The folder is hashed while one looks."""
    prediction_id = home.answered((1.0, 2.0, 3.0))
    (home.folder / "model.onnx").write_bytes(b"another")
    assert "WERE CHANGED" in home.walk(prediction_id).step("model").said


def test_a_version_without_a_registration_is_not_vouched_for(tmp_path: Path) -> None:
    """What the ledger does not know is no fact, and its files are not loaded."""
    home = Home(tmp_path, registered=False)
    walk = home.walk(home.answered((1.0, 2.0, 3.0)))
    assert walk.step("gate").gone == "the ledger has no record of this version's registration"
    assert walk.step("signature").gone is not None
    assert walk.question is None


def test_the_truth_stands_beside_the_answer(home: Home) -> None:
    """A label by id, and how far the answer was off; a label of another row is not this one's."""
    prediction_id = home.answered((1.0, 2.0, 3.0), (1.0, 1.0, 1.0))
    home.records.label([Label(workload=WORKLOAD, about=by_id(prediction_id, 0), value=7.5)])
    assert "6 was predicted, 1.5 off" in home.walk(prediction_id).step("label").said
    assert "Nobody has said yet" in home.walk(f"{prediction_id}/1").step("label").said


def test_an_unanswered_request_has_nothing_to_explain(home: Home) -> None:
    """An error is no answer."""
    walk = home.walk(home.answered((1.0, 2.0, 3.0), status=500, answer=b'{"error": "x"}'))
    assert walk.question is None
    assert "status 500" in walk.unexplained


def test_the_plain_form_is_json_and_holds_no_paths(home: Home) -> None:
    """What a client is given names no folder of this machine."""
    import json

    text = json.dumps(plain(home.walk(home.answered((1.0, 2.0, 3.0)))))
    assert str(home.home) not in text

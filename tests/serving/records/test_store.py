"""The store: what was appended is there, in one order, for every process."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from data.errors import UserError
from serving.records import Label, Labelled, Records, by_id
from tests.serving.records.samples import new_id, prediction


def test_what_was_appended_is_found_by_its_id(records: Records) -> None:
    """Every field of every role comes back as it was, by the id, in any form, and with a row behind it."""
    one = prediction(entities=("mauna-loa", 7), request=b"\x00\xff raw", form="v2/3", answer="ü".encode(), status=200)
    shadow = one._replace(role="shadow", version="2", status=0, answer=b"")
    records.append([one, prediction(), shadow])
    expected = [one._replace(sequence=1), shadow._replace(sequence=3)]
    assert records.find(one.id) == expected
    assert records.find(f"{one.id.upper()}/12") == expected
    assert records.find(new_id()) == []
    assert records.find("no id") == []


def test_predictions_are_read_in_order_of_a_workload(records: Records) -> None:
    """A workload's predictions come in order, behind a sequence number, of a role, up to a limit; others' are left out."""
    records.append([prediction("co2" if n % 3 else "other", role="champion" if n % 2 else "shadow") for n in range(1, 2501)])
    assert [one.sequence for one in records.predictions("co2")] == [n for n in range(1, 2501) if n % 3]
    assert [one.sequence for one in records.predictions("co2", after=2000, limit=3)] == [2000 + n for n in (2, 3, 5)]
    assert [one.sequence for one in records.predictions("other", role="shadow", limit=2)] == [6, 12]
    assert records.newest("co2") == 2500
    assert records.newest("other") == 2499
    assert records.newest("none") == 0


def test_an_id_has_one_record_per_role_and_a_group_is_kept_whole_or_not(records: Records) -> None:
    """A group with an id that its role had already is refused, and none of it is kept; the next group is."""
    one = prediction()
    records.append([one])
    with pytest.raises(IntegrityError):
        records.append([prediction(), one])
    with pytest.raises(ValueError, match=r"hexadecimal|prediction id"):
        records.append([prediction(), prediction(id="no id")])
    assert records.newest("co2") == 1
    records.append([prediction()])
    assert records.newest("co2") == 2
    assert records.verify() is None


def test_nothing_is_appended_by_an_empty_group(records: Records) -> None:
    """No predictions are no record."""
    records.append([])
    assert records.label([]) == Labelled()
    assert records.newest("co2") == 0
    assert records.verify() is None


_WRITER = """
import sys
from serving.records import Label, Records, by_id, by_time
from tests.serving.records.samples import prediction
from pathlib import Path
url = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
records = Records(url)
me = int(sys.argv[2])
for turn in range(20):
    group = [prediction(id=f"{me:08x}{turn:08x}{n:016x}") for n in range(1 + turn % 5)]
    records.append(group)
    records.label([Label(workload="co2", about=by_id(one.id), value=turn) for one in group] + [Label(workload="co2", about=by_time(turn), value=turn)])
records.close()
"""


def test_writers_at_once_lose_nothing(records: Records, database: Path | str) -> None:
    """Processes that create the store and append at once leave whole chains, with every record once."""
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(database), str(me)]) for me in range(3)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert [one.sequence for one in records.predictions("co2")] == list(range(1, 181))
    assert records.bounds("co2").labels == 180 + 20  # about the same 20 times each said the same
    assert records.verify() is None


def test_threads_share_a_store(records: Records) -> None:
    """Appends from several threads of one process lie behind each other, while others read."""
    threads = [threading.Thread(target=lambda: [records.append([prediction()]) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert records.newest("co2") <= 40
    assert records.newest("co2") == 40
    assert records.verify() is None


def _append_in_child(records: Records) -> None:
    records.append([prediction(id="f" * 32)])
    records.close()


def test_a_forked_process_opens_its_own_connection(records: Records) -> None:
    """After a fork parent and child both append, and the parent's connection is whole."""
    records.append([prediction()])
    child = multiprocessing.get_context("fork").Process(target=_append_in_child, args=(records,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    records.append([prediction()])
    assert records.newest("co2") == 3
    assert records.verify() is None


def test_a_closed_store_opens_again(records: Records, tmp_path: Path) -> None:
    """Closing notes both chains' ends; the store can be used on."""
    one = prediction()
    records.append([one])
    records.label([Label(workload="co2", about=by_id(one.id), value=1)])
    records.close()
    noted = json.loads((tmp_path / "kept.head").read_text())
    assert {chain: end["sequence"] for chain, end in noted.items()} == {"predictions": 1, "labels": 1}
    records.append([prediction()])
    assert records.newest("co2") == 2


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """Where the database cannot be opened a person reads what and where."""
    (tmp_path / "records.db").mkdir()
    with pytest.raises(UserError, match="store of predictions cannot be used"):
        Records.at(tmp_path).append([prediction()])


def test_importing_the_records_is_light() -> None:
    """Nothing heavy comes with the import."""
    code = "import sys, serving.records; print(sorted({'sqlalchemy', 'pyarrow', 'pandas', 'kserve'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"

"""Truth that came back is learnt from, and answers that came back as truth are not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assets import back
from data.errors import UserError
from data.places import Places
from serving.records import Label, Records, by_time
from tests.serving.records.samples import FORECAST, WEEK, answered

SPEC: Any = SimpleNamespace(name="co2", task="forecasting")


@pytest.mark.parametrize(("own", "refused"), [(25, True), (5, False)])
def test_a_model_s_own_answers_are_no_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: int, refused: bool):
    """Labels that are the forecasts to the last digit are refused as truth; a few that happen to be are not."""
    monkeypatch.delenv("AIPRIME_LEDGER_URL", raising=False)
    records = Records.at(tmp_path)
    said = [330.123456789 + n / 7 for n in range(30)]
    records.append([answered(FORECAST, [n * WEEK], [[said[n], 1.0]], entities=("a",)) for n in range(30)])
    records.absorb(FORECAST)
    records.label(
        [Label(workload="co2", about=by_time((n + 4) * WEEK, "a"), value=said[n] + (0 if n < own else 0.4)) for n in range(30)]
    )
    places = Places(root=tmp_path, home=tmp_path)
    if refused:
        with pytest.raises(UserError, match="to the last digit"):
            back.labels(SPEC, places, datetime(2030, 1, 1, tzinfo=UTC))
    else:
        assert back.labels(SPEC, places, datetime(2030, 1, 1, tzinfo=UTC)).num_rows == 30

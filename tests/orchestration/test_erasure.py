"""What `aiprime forget` tells a person."""

from __future__ import annotations

from typing import Any

from orchestration import erasure

FOUND: dict[str, Any] = {
    "workload": "shop",
    "datasets": ["a", "b"],
    "outputs": ["a", "b", "c", "d", "e", "f", "g"],
    "online": 24,
    "predictions": 3,
    "labels": 1,
    "files": ["feast/shop/online.db"],
    "shared": ["logs/gateway.log"],
    "versions": {"serving": ["2"], "old": ["1"], "unknown": []},
}


def test_looking_says_that_nothing_was_changed():
    """Every kind of finding has a line; nothing found is said too."""
    text = erasure.text({"would": [FOUND]})
    assert "shop: 24 online values, 3 predictions, 1 labels" in text
    assert "7 outputs of DVC (these, and what was made from them): a, b, c, d, e and 2 more" in text
    assert "1 old versions, which go: 1" in text
    assert "2 files that name it: feast/shop/online.db, logs/gateway.log" in text
    assert text.endswith("nothing was changed; --yes does it")
    assert "nothing is known" in erasure.text({"would": []})


def test_an_erasure_says_what_is_left_and_what_to_do():
    """The receipt, what to retrain, where it still stands, and where a receipt must be carried to."""
    done: dict[str, Any] = {
        "erased": {"predictions": 3, "outcomes": 3, "labels": 1, "online_values": 24},
        "found": FOUND,
        "retrain": ["2"],
        "remains": [{"where": "shop.csv", "why": "yours"}],
        "rebuilt": "the data were made again without it",
        "searched_as_text": False,
    }
    text = erasure.text({"receipt": "/home/receipts/r.json", "workloads": {"shop": done}, "not_copied_to": ["/mnt/away"]})
    for said in (
        "/home/receipts/r.json",
        "still serving: 2; next: aiprime run shop",
        "still at shop.csv: yours",
        "columns and records only",
        "/mnt/away",
    ):
        assert said in text

"""The records: every prediction that was answered and every label that says what turned out true, kept with proof."""

from serving.chain import Broken
from serving.records.bounds import Bounds
from serving.records.erasing import Erased
from serving.records.label import Label, Labelled, by_id, by_time
from serving.records.outcomes import Agreement, Traffic, Watermark
from serving.records.prediction import Prediction, Role
from serving.records.store import Records

__all__ = [
    "Agreement",
    "Bounds",
    "Broken",
    "Erased",
    "Label",
    "Labelled",
    "Prediction",
    "Records",
    "Role",
    "Traffic",
    "Watermark",
    "by_id",
    "by_time",
]

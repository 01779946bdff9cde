"""Has the world that a model sees moved? A window's rows against what the model grew up with, at a stated false-alarm rate.

    known = reference(train, columns)                                             # once per version
    limits = calibrate(train, columns, window=1000, false_alarms=0.05)            # once per version, by replaying history
    found = compare(window, known, limits, html=page)                             # each window: found.alarm, found.said

Pure on data frames: knows no ledger, no model, no clock. `columns` are data.schema.Column; prediction columns are columns like the others.
"""

from data.drift.reference import Reference, reference
from data.drift.replay import calibrate
from data.drift.report import compare
from data.drift.thresholds import Limit, Thresholds
from data.drift.verdict import Drift, Feature, Finding

__all__ = ["Drift", "Feature", "Finding", "Limit", "Reference", "Thresholds", "calibrate", "compare", "reference"]

"""Minimum function: the shipped workloads' models are right enough, on real data, on rows after all they were trained on."""

import os

import numpy as np
import pandas as pd
import pytest

from benchmarks import accuracy
from data import examples
from data.schema import SPLIT

needs_data = pytest.mark.skipif("AIPRIME_DATA" not in os.environ, reason="not run: no AIPRIME_DATA")


@pytest.mark.slow
def test_co2_beats_season_and_drift():
    """Weekly CO2, 4 and 52 weeks ahead: less error than last year's value plus its drift, the strongest naive forecast."""
    of = accuracy.workload("co2")
    made = examples.make(of.table, of.task, of.data, of.features)
    holdout = made.table[made.table[SPLIT] == "holdout"]
    answers, _ = accuracy.ours(of, made.table, made.schema, seed=0)
    for place, horizon in enumerate(made.schema.horizons):
        truth = holdout[f"__target_h{horizon}"].to_numpy(float)
        naive = np.nanmean(np.abs(holdout[f"__seasonal-drift_h{horizon}"].to_numpy(float) - truth))
        assert np.abs(answers["prediction"][:, place] - truth).mean() < naive


@pytest.mark.slow
@needs_data
def test_bikes_in_june():
    """Trained to June 2012, the forecasts of that June miss by at most 29 bikes an hour ahead and 41 a day ahead (one seed)."""
    of = accuracy.workload("bikes")
    table, schema = accuracy.cut(of, pd.Timestamp("2012-06-01", tz="UTC"), pd.Timestamp("2012-07-01", tz="UTC"))
    holdout = table[table[SPLIT] == "holdout"]
    answers, _ = accuracy.ours(of, table, schema, seed=0)
    truth = holdout[["__target_h1", "__target_h24"]].to_numpy(float)
    errors = np.abs(answers["prediction"] - truth).mean(axis=0)
    assert errors[0] < 29
    assert errors[1] < 41
    inside = (truth >= answers["quantiles"][..., 1]) & (truth <= answers["quantiles"][..., 5])
    assert (np.abs(inside.mean(axis=0) - 0.8) < 0.12).all()


@pytest.mark.slow
@needs_data
def test_elec2_beats_persistence():
    """In a window of 2,016 half-hours after training, more labels are right than by repeating the last one."""
    of = accuracy.workload("elec2")
    times = of.table["time"]
    table, schema = accuracy.cut(of, times.iloc[30_239], times.iloc[32_255])
    holdout = table[table[SPLIT] == "holdout"]
    answers, _ = accuracy.ours(of, table, schema, seed=0)
    said = np.array(schema.classes, dtype=object)[answers["probabilities"].argmax(axis=1)]
    truth = holdout["__target_h1"].to_numpy(object)
    assert (said == truth).mean() > (holdout["__persistence_h1"].to_numpy(object) == truth).mean()

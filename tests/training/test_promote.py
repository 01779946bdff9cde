import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from data.errors import UserError
from training.promote import Comparison, PromoteSection, baselines_of, decide, metric_of, next_frozen, overrule

RULES = PromoteSection()
losses = st.floats(0, 1e6, allow_nan=False, allow_infinity=False)
widths = st.floats(0, 1e3, allow_nan=False)
broken = st.sampled_from([math.nan, math.inf, -math.inf])


def compared(
    candidate: float, reference: float, *, width: float = 0.1, n: int = 100, window: str = "holdout", against: str = "champion"
):
    difference = candidate - reference
    return Comparison(
        n=n,
        candidate=candidate,
        reference=reference,
        difference=difference,
        low=difference - width,
        high=difference + width,
        confidence=0.9,
        window=window,
        against=against,
    )


def judged(baseline: Comparison, *champion: Comparison, rules: PromoteSection = RULES, **how):
    facts = {"latency_ms": 2.0, "size_mb": 1.0, "quality_passed": True} | how
    return decide(rules, baseline=baseline, champion=champion, **facts)


GOOD = compared(1.0, 2.0, against="persistence")


def test_a_first_model_that_beats_the_baseline_passes():
    """Without a champion, beating the naive baseline within the budgets is enough, and the reason shows the interval."""
    verdict = judged(GOOD)
    assert verdict.passed
    assert verdict.comparisons == (GOOD,)
    assert "persistence 2" in verdict.reasons[0]
    assert "90% interval" in verdict.reasons[0]


@given(losses, st.floats(0, 1e3), st.integers(1, 10_000))
def test_worse_than_the_baseline_never_passes(reference, more, n):
    """A candidate whose mean loss is not below the baseline's is refused, where no champion serves or the champion beats the baseline."""
    worse = compared(reference + more, reference, n=n)
    assert not judged(worse).passed
    assert not judged(worse, compared(reference + more, math.nextafter(reference, -1), n=n)).passed


def test_of_two_that_do_not_beat_the_baseline_the_surely_better_passes():
    """Where the champion is no better than the baseline either, a candidate that is confidently better than it takes its place."""
    worse = compared(2.1, 2.0)
    assert judged(worse, compared(2.1, 2.4)).passed
    assert not judged(worse, compared(2.1, 2.15)).passed
    assert not judged(worse, compared(2.1, 1.9)).passed
    assert not judged(worse, compared(2.1, 2.4, window="newest"), compared(2.1, 2.1)).passed


@given(losses, widths, st.floats(0, 0.5))
def test_an_identical_candidate_passes(loss, width, tolerance):
    """A candidate with the champion's very losses passes at any tolerance, on every window."""
    rules = PromoteSection(tolerance=tolerance)
    same = [compared(loss, loss, width=width, window=window) for window in ("holdout", "newest", "winter")]
    assert judged(GOOD, *same, rules=rules).passed


@given(
    champion=losses,
    candidates=st.lists(losses, min_size=3, max_size=3),
    gains=st.lists(losses, min_size=3, max_size=3),
    widths=st.lists(widths, min_size=3, max_size=3),
    tolerance=st.floats(0, 0.5),
    base=losses,
    own=losses,
    own_gain=losses,
)
def test_a_better_candidate_never_turns_a_pass_into_a_refusal(
    champion, candidates, gains, widths, tolerance, base, own, own_gain
):
    """Lowering the candidate's losses, on any windows, by any amounts, keeps a pass a pass."""
    rules, names = PromoteSection(tolerance=tolerance), ("holdout", "newest", "winter")

    def verdict(lower: float, own_loss: float):
        rows = zip(candidates, gains, widths, names, strict=True)
        windows = [compared(c - lower * g, champion, width=w, window=name) for c, g, w, name in rows]
        return judged(compared(own_loss, base), *windows, rules=rules)

    if verdict(0, own).passed:
        assert verdict(1, own - own_gain).passed


@given(
    st.sampled_from(["holdout", "newest", "a slice"]),
    st.sampled_from(["n", "candidate", "reference", "difference", "low", "high"]),
    broken,
)
def test_what_is_empty_or_not_a_number_never_passes(window, figure, value):
    """An empty window or a figure that is not a number refuses, wherever it stands."""
    good = compared(1.0, 2.0)
    bad = Comparison(**{**good.__dict__, "window": window, figure: 0 if figure == "n" else value})
    champion = [bad] if window == "holdout" else [good, bad]
    assert not judged(GOOD, *champion).passed
    assert not judged(bad).passed


@given(broken)
def test_what_was_not_measured_never_passes(value):
    """A latency or size that is not a number refuses."""
    assert not judged(GOOD, latency_ms=value).passed
    assert not judged(GOOD, size_mb=value).passed


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"latency_ms": 51.0}, "latency of one row is 51 ms, over the budget of 50 ms"),
        ({"size_mb": 201.0}, "size is 201 MB"),
        ({"quality_passed": False}, "quality check"),
        ({"served_agrees": False}, "does not answer what was evaluated"),
    ],
)
def test_each_budget_and_check_refuses_with_its_sentence(how, said):
    """Latency, size, quality and the booted server each refuse on their own, in a sentence that says so."""
    verdict = judged(GOOD, **how)
    assert not verdict.passed
    assert len(verdict.reasons) == 1
    assert said in verdict.reasons[0]


def test_the_whole_holdout_is_judged_by_its_point():
    """On the whole holdout a loss over the tolerance refuses even where the interval is wide; within it passes."""
    assert not judged(GOOD, compared(1.05, 1.0, width=9)).passed
    assert judged(GOOD, compared(1.015, 1.0, width=9)).passed


def test_a_part_refuses_only_when_confidently_worse():
    """On a part of the holdout a worse point passes while its interval reaches the tolerance, and refuses beyond."""
    whole = compared(1.0, 1.0)
    assert judged(GOOD, whole, compared(1.2, 1.0, width=0.19, window="newest")).passed
    verdict = judged(GOOD, whole, compared(1.2, 1.0, width=0.1, window="winter"))
    assert not verdict.passed
    assert "confidently worse" in verdict.reasons[0]
    assert "winter" in verdict.reasons[0]


def test_a_champion_must_be_compared_on_the_whole_holdout():
    """Comparisons of parts alone do not make a candidate pass."""
    assert not judged(GOOD, compared(1.0, 2.0, window="newest")).passed


def test_every_refusal_is_said():
    """A verdict names all that is wrong, not the first thing only."""
    verdict = judged(compared(2.0, 1.0), compared(3.0, 1.0), latency_ms=99.0, quality_passed=False)
    assert len(verdict.reasons) == 4


def test_an_override_needs_a_reason_and_leaves_the_refusals():
    """A person may overrule a refusal only with a reason; both stay in the verdict."""
    refused = judged(compared(2.0, 1.0))
    with pytest.raises(UserError, match="reason"):
        overrule(refused, "  ")
    passed = overrule(refused, "the labels of June were wrong")
    assert passed.passed
    assert passed.reasons == refused.reasons
    assert passed.override == "the labels of June were wrong"


def test_a_row_for_a_table_has_no_nan():
    """What is not a number is None in a comparison's row, so that it can be stored as JSON."""
    assert compared(math.nan, 1.0).row()["candidate"] is None
    assert compared(1.0, 2.0).row()["difference"] == -1.0


def test_the_section_refuses_what_it_does_not_know():
    """Unknown keys and impossible values under `promote` are errors."""
    for wrong in (
        {"tolerence": 0.1},
        {"tolerance": -1},
        {"confidence": 1.5},
        {"baseline": "best"},
        {"slices": {"hot": {"t": {"mni": 3}}}},
    ):
        with pytest.raises(ValidationError):
            PromoteSection.model_validate(wrong)
    PromoteSection.model_validate(
        {"slices": {"hot": {"temp": {"min": 30}}, "weekend": {"day": ["sat", "sun"]}, "open": {"open": True}}}
    )


def test_defaults_follow_the_task():
    """The metric and the baselines that nobody declared are the task's; what the task cannot have is refused."""
    assert metric_of(RULES, "forecasting", series=True) == "mae"
    assert metric_of(RULES, "classification", series=True) == "accuracy"
    assert metric_of(RULES, "classification", series=False) == "log_loss"
    assert baselines_of(RULES, "forecasting", series=True) == ("persistence", "seasonal-naive", "seasonal-drift")
    assert baselines_of(RULES, "regression", series=False) == ("mean", "median")
    assert baselines_of(PromoteSection(baseline="persistence"), "classification", series=True) == ("persistence",)
    with pytest.raises(UserError, match="accuracy"):
        metric_of(PromoteSection(metric="accuracy"), "regression", series=False)
    with pytest.raises(UserError, match="persistence"):
        baselines_of(PromoteSection(baseline="persistence"), "regression", series=False)


def test_the_frozen_rows_have_a_tolerance_of_their_own():
    """On the frozen rows a point that is worse by more than `frozen_tolerance` refuses, whatever the newest rows say; below it passes."""
    better = [compared(0.5, 1.0), compared(0.5, 1.0, window="newest")]
    assert judged(GOOD, *better, compared(1.09, 1.0, window="frozen", width=9)).passed
    verdict = judged(GOOD, *better, compared(1.11, 1.0, window="frozen", width=9))
    assert not verdict.passed
    assert verdict.reasons[0].startswith("it is worse than the champion by more than 10.0%: loss on frozen")
    assert judged(GOOD, *better, compared(1.11, 1.0, window="frozen"), rules=PromoteSection(frozen_tolerance=0.2)).passed


def test_the_frozen_rows_alone_are_no_comparison():
    """A candidate that was compared on the frozen rows only is refused: the newest window is what it is for."""
    assert not judged(GOOD, compared(0.5, 1.0, window="frozen")).passed


gates = st.lists(st.none() | st.integers(0, 50).map(lambda day: (at(day), at(day + 40))), max_size=30)


def at(day: int) -> datetime:
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=day)


@given(gates, st.integers(1, 6), st.integers(0, 60))
def test_the_frozen_window_is_part_of_a_promoted_one(gates, frozen_for, span):
    """It lies in the gate window of a promotion that is at most `frozen_for` - 1 promotions old, begins with it, and holds an example."""
    found = next_frozen(gates, frozen_for=frozen_for, span=timedelta(days=span))
    known = [gate for gate in gates if gate is not None]
    assert (found is None) == (not known)
    if found is not None:
        assert any(found[0] == start and found[1] <= end for start, end in known[-frozen_for:])
        assert found[1] - found[0] >= min(timedelta(days=span), timedelta(days=40))


@given(gates, st.integers(1, 6))
def test_the_frozen_window_cannot_veto_for_ever(gates, frozen_for):
    """It stays the same between renewals, and after `frozen_for` further promotions it is that promotion's."""
    known = [gate for gate in gates if gate is not None]
    found = [next_frozen(known[: n + 1], frozen_for=frozen_for) for n in range(len(known))]
    for n in range(len(known)):
        if n % frozen_for:
            assert found[n] == found[n - 1]
        else:
            assert found[n] == (known[n][0], known[n][0] + timedelta(days=10))


def test_no_frozen_window_is_kept_where_none_is_wanted():
    """With `frozen_for: 0` nothing is kept."""
    assert next_frozen([(at(0), at(40))], frozen_for=0) is None

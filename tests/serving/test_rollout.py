"""The rollout's rules: no challenger advances on what is missing, and a bad one goes back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.release import Exposure, Release
from serving.rollout import RolloutSection, judge
from training.promote import Comparison


@dataclass(frozen=True)
class Seen:
    """Traffic as the records count it."""

    requests: int = 0
    errors: int = 0
    p99_ms: float = math.nan


SECTION = RolloutSection()
RELEASE = Release(workload="co2", champion="1", challenger="2", shadow=True)
GOOD = Seen(requests=200, errors=0, p99_ms=5)
BETTER = Comparison(n=50, candidate=0.9, reference=1.0, difference=-0.1, low=-0.2, high=0.0, confidence=0.9)
WORSE = replace(BETTER, candidate=2.0, difference=1.0, low=0.5, high=1.5)

NUMBERS = st.one_of(st.floats(0, 1e4), st.just(math.nan), st.just(math.inf))
TRAFFIC = st.integers(0, 1000).flatmap(lambda n: st.builds(Seen, st.just(n), st.integers(0, n), NUMBERS))
COMPARISONS = st.one_of(
    st.none(),
    st.builds(
        Comparison,
        n=st.integers(0, 100),
        candidate=NUMBERS,
        reference=NUMBERS,
        difference=st.one_of(st.floats(-1e3, 1e3), st.just(math.nan)),
        low=st.one_of(st.floats(-1e3, 1e3), st.just(math.nan)),
        high=NUMBERS,
        confidence=st.just(0.9),
    ),
)
SECTIONS = st.builds(
    RolloutSection,
    min_requests=st.integers(1, 300),
    min_labels=st.one_of(st.none(), st.integers(1, 80)),
    labels=st.sampled_from(["auto", "required", "ignored"]),
    min_agreement=st.one_of(st.none(), st.floats(0, 1)),
    approve=st.booleans(),
)
RELEASES = st.builds(
    Release,
    workload=st.just("co2"),
    champion=st.just("1"),
    challenger=st.sampled_from([None, "2"]),
    step=st.integers(0, 3),
    shadow=st.booleans(),
    paused=st.booleans(),
    approved=st.booleans(),
)
AGREEMENTS = st.one_of(st.none(), st.just(math.nan), st.floats(0, 1))


@given(RELEASES, SECTIONS, TRAFFIC, TRAFFIC, COMPARISONS, AGREEMENTS)
def test_what_is_missing_never_advances(
    release: Release,
    section: RolloutSection,
    champion: Seen,
    challenger: Seen,
    losses: Comparison | None,
    agreement: float | None,
) -> None:
    """An advance means: enough requests, measured latencies, labels where they count, an agreement where one is asked, and no veto."""
    if judge(release, section, champion, challenger, losses, agreement).verdict != "advance":
        return
    assert release.challenger is not None
    assert not release.paused
    assert challenger.requests >= section.min_requests
    assert math.isfinite(challenger.p99_ms)
    assert math.isfinite(champion.p99_ms)
    assert champion.requests > 0
    if section.labels == "required":
        assert losses is not None
    if section.labels != "ignored" and losses is not None:
        wanted = section.min_labels or 30
        if release.shadow or challenger.requests < 4 * section.min_requests or section.labels == "required":
            assert losses.n >= wanted
        assert losses.sound or losses.n < wanted
    if section.min_agreement is not None and release.shadow:
        assert agreement is not None
        assert agreement >= section.min_agreement
    if section.approve and release.step >= len(section.steps) - 1:
        assert release.approved


@given(RELEASES, SECTIONS, TRAFFIC, TRAFFIC, COMPARISONS, AGREEMENTS, st.integers(1, 500))
def test_more_errors_never_help(
    release: Release,
    section: RolloutSection,
    champion: Seen,
    challenger: Seen,
    losses: Comparison | None,
    agreement: float | None,
    more: int,
) -> None:
    """A challenger with more failed requests is never judged better, and one that is rolled back stays rolled back."""
    rank = {"advance": 0, "stay": 1, "roll_back": 2}
    worse = replace(challenger, errors=min(challenger.requests, challenger.errors + more))
    before = judge(release, section, champion, challenger, losses, agreement).verdict
    assert rank[judge(release, section, champion, worse, losses, agreement).verdict] >= rank[before]


@given(RELEASES, SECTIONS, TRAFFIC, TRAFFIC, COMPARISONS, AGREEMENTS)
def test_every_verdict_says_why(
    release: Release,
    section: RolloutSection,
    champion: Seen,
    challenger: Seen,
    losses: Comparison | None,
    agreement: float | None,
) -> None:
    """Each verdict comes with a sentence, and the same numbers give the same verdict."""
    step = judge(release, section, champion, challenger, losses, agreement)
    assert step.sentence
    assert step == judge(release, section, champion, challenger, losses, agreement)


def test_a_good_challenger_advances() -> None:
    """With enough requests, no errors, a like latency and a loss that is not worse, it takes the next step."""
    assert judge(RELEASE, SECTION, GOOD, GOOD, BETTER, 0.9).verdict == "advance"
    assert judge(RELEASE, SECTION, GOOD, GOOD, None, None).verdict == "advance"  # no labels: not judged on quality


def test_errors_roll_back_before_the_minimum_of_requests() -> None:
    """Five failures above the bound send it back at once; four of them only keep it where it is; the champion's own are allowed for."""
    failing = Seen(requests=20, errors=5, p99_ms=5)
    assert judge(RELEASE, SECTION, GOOD, failing, None, None).verdict == "roll_back"
    assert judge(RELEASE, SECTION, GOOD, replace(failing, errors=4), None, None).verdict == "stay"
    assert judge(RELEASE, SECTION, Seen(100, 25, 5), failing, None, None).verdict == "stay"
    many = Seen(requests=200, errors=4, p99_ms=5)  # 2 %, by too few to tell
    assert judge(RELEASE, SECTION, GOOD, many, None, None).verdict == "stay"


def test_a_pause_does_not_keep_a_bad_challenger() -> None:
    """Paused, it does not advance; what must go back goes back all the same."""
    paused = replace(RELEASE, paused=True)
    assert judge(paused, SECTION, GOOD, GOOD, BETTER, 0.9).verdict == "stay"
    assert judge(paused, SECTION, GOOD, Seen(20, 20, 5), BETTER, 0.9).verdict == "roll_back"


def test_a_slow_challenger_goes_back() -> None:
    """A p99 of more than twice the champion's goes back once it was measured on enough requests, but never below the floor."""
    slow = Seen(requests=100, errors=0, p99_ms=210)
    assert judge(RELEASE, SECTION, Seen(100, 0, 100), slow, None, None).verdict == "roll_back"
    assert judge(RELEASE, SECTION, Seen(100, 0, 100), replace(slow, requests=99), None, None).verdict == "stay"
    assert judge(RELEASE, SECTION, Seen(100, 0, 110), slow, None, None).verdict == "advance"
    assert judge(RELEASE, SECTION, Seen(100, 0, 1), replace(slow, p99_ms=99), None, None).verdict == "advance"


def test_quality_decides_where_truth_is_known() -> None:
    """Confidently worse goes back, worse without being sure stays, too few pairs stay."""
    assert judge(RELEASE, SECTION, GOOD, GOOD, WORSE, None).verdict == "roll_back"
    unsure = replace(WORSE, low=-0.1)
    assert judge(RELEASE, SECTION, GOOD, GOOD, unsure, None).verdict == "stay"
    assert judge(RELEASE, SECTION, GOOD, GOOD, replace(WORSE, n=29), None).verdict == "stay"
    required = RolloutSection(labels="required")
    assert judge(RELEASE, required, GOOD, GOOD, None, None).verdict == "stay"


def test_a_person_has_the_last_word_where_asked() -> None:
    """With `approve` the last step waits for a person, and the ones before do not."""
    section = RolloutSection(approve=True)
    last = replace(RELEASE, step=2, share=0.5, shadow=False)
    assert judge(replace(last, step=1), section, GOOD, GOOD, None, None).verdict == "advance"
    waiting = judge(last, section, GOOD, GOOD, None, None)
    assert (waiting.verdict, waiting.reasons) == ("stay", ("waits for a person: aiprime release approve co2",))
    assert judge(replace(last, approved=True), section, GOOD, GOOD, None, None).verdict == "advance"


def test_the_steps_are_what_the_yaml_says() -> None:
    """Shadow, then growing shares, then all; anything else is refused where it is written."""
    assert SECTION.exposure(0, 5) == Exposure(step=0, share=0.0, shadow=True, after=5)
    assert SECTION.exposure(2, 9) == Exposure(step=2, share=0.5, shadow=False, after=9)
    assert SECTION.exposure(3, 9) is None
    assert RolloutSection(steps=()).exposure(0, 0) is None
    for wrong in (["shadow", "shadow"], [0.5, 0.1], [0.1, "shadow"], [1.0], [0], ["canary"]):
        with pytest.raises(ValidationError):
            RolloutSection.model_validate({"steps": wrong})


@pytest.mark.parametrize(("missing", "verdict"), [(134, "stay"), (1, "stay"), (0, "roll_back")])
def test_no_part_of_a_season_decides_on_a_version(missing: int, verdict: str) -> None:
    """bikes, replayed: two candidates that the gate's weeks had shown to be better were rolled back over their first 35 hours."""
    assert judge(RELEASE, SECTION, GOOD, GOOD, WORSE, None, missing).verdict == verdict


def test_what_is_undecided_comes_to_an_end() -> None:
    """bikes, replayed: a version that its last shadowed hours made look a little worse held every retrain back for months."""
    perhaps = replace(WORSE, candidate=1.06, difference=0.06, low=-0.02)
    shared, long = {"shadow": False, "step": 1, "share": 0.1}, Seen(requests=400, errors=0, p99_ms=5)

    def verdict(pairs: int, section: RolloutSection = SECTION, seen: Seen = GOOD, **at: Any) -> str:
        return judge(replace(RELEASE, **at), section, GOOD, seen, replace(perhaps, n=pairs), None).verdict

    assert [verdict(30), verdict(119), verdict(120)] == ["stay", "stay", "roll_back"]
    assert [verdict(30, **shared), verdict(30, seen=long, **shared)] == ["stay", "advance"]  # no further pair will come
    assert [verdict(10, **shared), verdict(10, seen=long, **shared)] == ["stay", "advance"]
    assert verdict(10, RolloutSection(labels="required"), long, **shared) == "stay"
    assert verdict(30, RolloutSection(steps=(0.1,)), long, **shared) == "stay"  # two arms: each request is a new one

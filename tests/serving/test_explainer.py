"""The process that explains: bounded in number, time and memory, and it loads nothing that it did not verify."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from serving.explainer import Busy, Explainer, Late
from serving.trust import keys, signature
from serving.trust.refusal import Untrusted
from serving.why import Question
from tests.serving.why.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path).sign()


@pytest.fixture
def question(home: Home) -> Question:
    found = home.walk(home.answered((1.0, 2.0, 3.0))).question
    assert found is not None
    return found


def with_one(home: Home, use: Callable[[Explainer], Awaitable[None]], **bounds: float) -> None:
    """Run `use` with an explainer, and end its process."""

    async def run() -> None:
        explainer = Explainer(home.home, **bounds)  # pyright: ignore[reportArgumentType]
        try:
            await use(explainer)
        finally:
            await explainer.close()

    asyncio.run(run())


def test_a_folder_that_was_changed_is_not_loaded(home: Home, question: Question) -> None:
    """Its files are the signed ones and those that were registered, or nobody is asked; signed anew as others they are not those."""
    (home.folder / "model.onnx").write_bytes(b"no model at all")

    async def use(explainer: Explainer) -> None:
        with pytest.raises(UserError, match=r"not the signed ones: model\.onnx is not the file"):
            await explainer.explain(question)
        home.sign()
        with pytest.raises(UserError, match="not the ones that answered"):
            await explainer.explain(question)
        assert explainer.pid is None

    with_one(home, use)


def test_a_folder_that_nobody_signed_is_not_loaded(home: Home, question: Question) -> None:
    """Unsigned, or signed with a key that is not trusted: the registered bytes alone are not enough, and looking makes no keys."""
    signed = signature.beside(home.folder)

    async def use(explainer: Explainer) -> None:
        signed.unlink()
        with pytest.raises(Untrusted, match=r"1\.sig is missing"):
            await explainer.explain(question)
        shutil.rmtree(keys.folder(home.home))
        with pytest.raises(UserError, match="no keys"):
            await explainer.explain(question)
        assert not keys.folder(home.home).exists()
        home.sign()
        shutil.rmtree(keys.folder(home.home))
        keys.signing(home.home)
        with pytest.raises(Untrusted, match="not trusted"):
            await explainer.explain(question)
        assert explainer.pid is None

    with_one(home, use)


def test_a_folder_that_is_changed_while_it_is_loaded_is_not_kept(
    home: Home, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process looks again once it has loaded: what was read in between is thrown away."""
    from training.explain import explanation
    from training.explain.loaded import Loaded

    class Raced(explanation.Explainer):
        def __init__(self, folder: Path, usual: Any) -> None:
            super().__init__(folder, usual)
            (folder / "model.onnx").write_bytes(b"another")

    loaded, kept = Loaded(), (home.folder / "model.onnx").read_bytes()
    with monkeypatch.context() as raced:
        raced.setattr(explanation, "Explainer", Raced)
        with pytest.raises(UserError, match="changed since"):
            loaded.explainer(asdict(question))
    (home.folder / "model.onnx").write_bytes(kept)
    assert type(loaded.explainer(asdict(question))) is explanation.Explainer


def test_a_folder_or_usual_inputs_that_are_gone_are_said(home: Home, question: Question) -> None:
    """What is missing is named, without a trace."""

    async def use(explainer: Explainer) -> None:
        with pytest.raises(UserError, match="files are gone"):
            await explainer.explain(replace(question, folder=str(home.home / "nothing")))
        with pytest.raises(UserError, match="no usual inputs"):
            await explainer.explain(replace(question, background=str(home.home / "nothing")))

    with_one(home, use)


def test_more_questions_than_wait_are_turned_away_at_once(home: Home, question: Question) -> None:
    """Beyond the bound nobody gets a place; who has one may ask as often as it likes, and gives it back."""

    async def use(explainer: Explainer) -> None:
        gone = replace(question, folder=str(home.home / "nothing"))
        with explainer.place(), explainer.place():
            with pytest.raises(Busy), explainer.place():
                pass
            done = await asyncio.gather(*(explainer.explain(gone) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in done] == [UserError] * 3
        with explainer.place():
            pass

    with_one(home, use, waiting=2)


def test_past_the_deadline_the_process_is_ended(home: Home, question: Question) -> None:
    """Late, and what was computing is gone; the next question gets a new process."""

    async def use(explainer: Explainer) -> None:
        with pytest.raises(Late):
            await explainer.explain(question)
        assert explainer.pid is None

    with_one(home, use, deadline_s=0.05)


def test_too_much_memory_ends_it(home: Home, question: Question) -> None:
    """The bound is said to who asked."""

    async def use(explainer: Explainer) -> None:
        with pytest.raises(UserError, match="more than 10 MB"):
            await explainer.explain(question)

    with_one(home, use, memory_mb=10)


def test_it_ends_when_nothing_is_asked_and_is_started_again(home: Home, question: Question) -> None:
    """Idle it leaves; the next question is answered as if nothing had happened."""

    async def use(explainer: Explainer) -> None:
        gone = replace(question, background=str(home.home / "nothing"))
        pids = set()
        for _ in range(2):
            with pytest.raises(UserError, match="no usual inputs"):
                await explainer.explain(gone)
            pids.add(explainer.pid)
            async with asyncio.timeout(60):
                while explainer.pid is not None:
                    await asyncio.sleep(0.05)
        assert len(pids) == 2

    with_one(home, use, idle_s=0.2)


@pytest.mark.slow
def test_an_answer_is_explained_and_a_picture_of_it(home: Home, tmp_path: Path) -> None:
    """A picture's parts get their weights, within the process' bounds, for the class that was answered."""
    import pandas as pd

    from data.files import tree_digest
    from tests.serving.model_folders import pictures
    from training.signing import sign

    folder = pictures(tmp_path / "pictures")
    usual = pd.DataFrame({"image": [[0.0] * 12, [1.0] * 12]})
    usual.to_parquet(tmp_path / "usual.parquet")
    row = {"image": [[5.0, 0.0, 0.0]] * 4}  # all of its ink in the first column
    asked = Question(folder=str(folder), digest=tree_digest(folder), background=str(tmp_path / "usual.parquet"), row=row)

    signature.beside(folder).write_bytes(sign(folder, keys.signing(home.home).file))

    async def use(explainer: Explainer) -> None:
        found = await explainer.explain(asked)
        (one,) = found["answers"]
        assert (one["label"], list(one["inputs"])) == ("left", [])
        weights = one["pictures"][0]["shap"]
        assert sum(map(sum, weights)) == pytest.approx(one["answer"] - one["base"], abs=1e-6)
        assert all(line[0] > abs(line[1]) and line[0] > abs(line[2]) for line in weights)
        assert explainer.pid not in {None, os.getpid()}
        with pytest.raises(UserError, match="no class 'up'"):
            await explainer.explain(asked, "up")

    with_one(home, use)

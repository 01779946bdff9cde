"""The versions that are explained, kept in memory: each loaded only from the very files that answered. Asks nobody who signed them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.files import tree_digest

if TYPE_CHECKING:
    from training.explain.explanation import Explainer

_LOADED = 2  # versions that are kept in memory


class Loaded:
    """The versions that were asked last."""

    def __init__(self) -> None:
        self._explainers: OrderedDict[tuple[str, str], Explainer] = OrderedDict()

    def explainer(self, question: Mapping[str, Any]) -> Explainer:
        """The version's, its folder verified when it is loaded. UserError where the folder is not the one that `digest` names."""
        from training.explain import background
        from training.explain.explanation import Explainer
        from training.signature import Signature

        key = question["folder"], question["digest"]
        if key not in self._explainers:
            folder = Path(question["folder"])
            verify(folder, question["digest"])
            usual = background.read(Path(question["background"]), Signature.read(folder))
            while len(self._explainers) >= _LOADED:
                self._explainers.popitem(last=False)
            loaded = Explainer(folder, usual)
            verify(folder, question["digest"])  # again: what was loaded is what was checked, whoever wrote there in between
            self._explainers[key] = loaded
        self._explainers.move_to_end(key)
        return self._explainers[key]


def verify(folder: Path, digest: str) -> None:
    """UserError where the folder's files are not those that `digest` names; nothing of them is parsed."""
    if not folder.is_dir():
        raise UserError("the model's files are gone", where=str(folder), next_step="aiprime gc deletes those of old versions")
    try:
        found = tree_digest(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"the model's files cannot be read: {error}") from error
    if found != digest:
        raise UserError("the model's files are not the ones that answered: they were changed since", where=str(folder))

"""What is left out of a library's first import comes back after it, and is not loaded by who runs the lifecycle."""

import subprocess
import sys

import pytest

from data import imports


def test_typeguard_is_as_it_was():
    """It is set aside for the import alone: whoever decorates later gets the real thing."""
    import typeguard

    original = typeguard.typechecked
    with imports.without_type_checks():
        assert typeguard.typechecked(int) is int
        assert typeguard.typechecked(forward_ref_policy=None)(int) is int
    assert typeguard.typechecked is original


@pytest.mark.parametrize(
    "used",
    [
        "from data.quality import _vendor_session\nwith _vendor_session(): pass\nassert 'great_expectations' in sys.modules",
        "from assets.cards.validation import validate\ntry: validate({})\nexcept ValueError: pass\nassert 'jsonschema' in sys.modules",
    ],
)
def test_the_grammar_of_links_is_not_built(used: str):
    """Neither data quality nor a card's validation pays for a parser of IRIs; it can be imported by whoever asks for it."""
    code = f"import sys\n{used}\nassert 'rfc3987_syntax' not in sys.modules\nimport rfc3987_syntax"
    subprocess.run([sys.executable, "-c", code], check=True)

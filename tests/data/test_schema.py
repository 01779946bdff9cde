"""The nouns of a table."""

from data.schema import spoken


def test_columns_of_ours_are_spoken_of_in_words():
    """A watched answer is told as what it is; a user's column as the user wrote it."""
    assert [spoken(name) for name in ("__prediction_h4", "__prediction", "co2")] == [
        "the prediction 4 steps ahead",
        "the prediction",
        "co2",
    ]

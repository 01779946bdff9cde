"""The `card:` section of a workload's YAML: what no machine can know of a model. DVC does not read it: editing it trains nothing."""

from __future__ import annotations

from data.section import Section


class CardSection(Section):
    """A person's statements for the card. What is not stated is shown as not stated, and the card is not complete without it."""

    license: str | None = None  # of the model: an SPDX identifier such as Apache-2.0, or words
    data_license: str | None = None
    data_origin: str | None = None  # who gathered the data, and where it is published
    people: str | None = None  # whether persons are in the data, and what a wrong answer may do to them
    not_for: tuple[str, ...] = ()  # uses that it was not made for

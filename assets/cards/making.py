"""Writes a version's card: the bill of materials, checked against CycloneDX's schema, then the Markdown and the page made from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assets.spec import Spec
from data.files import write_atomically, write_json
from serving.cards import Card, bom_file, card_file, completeness, markdown_file

if TYPE_CHECKING:
    from assets.platform import Platform

log = logging.getLogger("aiprime.cards")


def make(spec: Spec, platform: Platform, version: str, told: Mapping[str, Any]) -> str:
    """Make what is missing of the card of the model in the workload's store, registered as `version` with the payload `told`.

    Returns the card's digest, which does not depend on when it was made: what the `registered` record keeps. Idempotent: the page is
    written last, so a card that was cut short is made again. ValueError where the document is not CycloneDX: our mistake.
    """
    home = platform.places.home
    file, page = bom_file(home, spec.name, version), card_file(home, spec.name, version)
    if page.is_file() and file.is_file():
        return Card.read(file).digest
    from assets.cards import document, facts, validation
    from serving.cards.markdown import markdown
    from serving.gateway.pages.card import page as drawn

    made = document.document(
        facts.facts(spec, platform.places, version, told), datetime.now(UTC).isoformat(timespec="seconds"), validation.spdx()
    )
    validation.validate(made)
    write_json(file, made)
    card = Card(made)
    text = markdown_file(home, spec.name, version)
    write_atomically(text, markdown(card))
    if run := told.get("run_id"):
        platform.tracking().log_scores(run, {}, {"card_sha256": card.digest}, [file, text])
    write_atomically(page, drawn(card))
    found = completeness(card)
    missing = f"; missing: {', '.join(found.missing)}" if found.missing else ""
    log.info("%s: the card of version %s: %s of 100%s", spec.name, version, found.score, missing)
    return card.digest

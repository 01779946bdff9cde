"""The page of one version: its card as HTML, and what was decided about it since."""

from __future__ import annotations

from collections.abc import Sequence

from serving.cards import Card, Section, completeness, sections
from serving.freshness import Freshness
from serving.gateway.pages.markup import badge, clock, esc, frame, loud, model_path, table
from serving.ledger import Decision
from serving.vouching import Vouched


def page(
    card: Card,
    decisions: Sequence[Decision] = (),
    *,
    state: str = "",
    vouched: Vouched | None = None,
    stored: Freshness | None = None,
) -> str:
    """The page. `decisions` are the ledger's of this version, oldest first; `state` is its place in the release ("" none);
    `vouched` and `stored` what was just found of its signature, and of the feature values that it reads.

    Without decisions it is what was known at the registration: the file beside the model.
    """
    found = completeness(card)
    whole = badge("ok" if not found.missing else "unknown", f"card {found.score} of 100")
    head = (
        f'<header><nav><a href="/">AI Prime</a> / <a href="{esc(model_path(card.name))}">{esc(card.name)}</a> / versions</nav>'
        f'<h1>{esc(card.name)} {esc(card.version)}</h1>{whole}<span class="soft">{esc(state)}</span></header>'
    )
    body = "".join(map(_section, sections(card)))
    return frame(
        f"{card.name} {card.version}: AI Prime",
        f"{head}<main>{_since(card, decisions)}{_trust(vouched, state)}{_stored(stored)}{body}</main>{_FOOT}",
    )


_FOOT = "<footer>Made from the version's bill of materials (CycloneDX 1.6), which a client that asks for no HTML gets at this address.</footer>"


def _since(card: Card, decisions: Sequence[Decision]) -> str:
    """What the ledger says: the newest verdict, and whether this card is the one that was registered."""
    registered = [one for one in decisions if one.kind == "registered"]
    if not registered:
        return ""
    first, last = registered[0].payload, registered[-1]
    lines = [
        f"<strong>{'Passed' if last.payload.get('passed') else 'Refused'}</strong>: {esc(last.payload.get('verdict', ''))}"
    ]
    if len(registered) > 1:
        lines.append(f"It was judged {len(registered)} times; this is the newest verdict, of {clock(last.at)}.")
    if first.get("card") == card.digest:
        lines.append("This card is the one whose digest the ledger keeps.")
    elif first.get("card"):
        lines.append(
            '<span class="loud">▲ This card is not the one that was registered</span>: it was changed, or made again elsewhere.'
        )
    else:
        lines.append("The ledger keeps no digest of this card: the version is older than cards.")
    rows = [[clock(one.at), esc(one.kind), esc(one.payload.get("reason", "")), esc(one.actor)] for one in reversed(decisions)]
    shown = table("Decisions about this version, newest first", ["when", "what", "why", "by"], rows)
    said = "".join(f"<p>{line}</p>" for line in lines)
    return f"<section><h2>Since then</h2>{said}<details><summary>{len(rows)} decisions</summary>{shown}</details></section>"


def _trust(vouched: Vouched | None, state: str) -> str:
    """Who vouches for the files, and that they were just looked at. That a version which serves nobody was not cleared is no alarm."""
    if vouched is None:
        return ""
    told = []
    if vouched.key is not None:
        told.append(
            f"Signed by the key <code>{esc(vouched.key)}</code>. Its files were hashed again just now: they are those that were signed."
        )
    if vouched.cleared is not None:
        by = "a person" if vouched.by == "person" else f"the {esc(vouched.by)}"
        told.append(
            f"Cleared to serve on {clock(vouched.at)} by {by} (decision {vouched.cleared} of the ledger): {esc(vouched.reason or 'no reason given')}."
        )
    told += [loud(one) if state or vouched.cleared is not None else esc(one) for one in vouched.amiss]
    return f"<section><h2>Signed and cleared</h2>{''.join(f'<p>{line}</p>' for line in told)}</section>"


def _stored(stored: Freshness | None) -> str:
    if stored is None:
        return ""
    said = esc(stored.said) if stored.well else loud(stored.said)
    return f"<section><h2>Stored feature values</h2><p>{said}</p></section>"


def _section(one: Section) -> str:
    lines = "".join(f"<li>{esc(line)}</li>" for line in one.lines)
    said = f"<ul>{lines}</ul>" if lines else ""
    shown = table(one.title, list(one.columns), [[esc(cell) for cell in row] for row in one.rows]) if one.rows else ""
    if shown and one.folded:
        shown = f"<details><summary>{len(one.rows)} rows</summary>{shown}</details>"
    return f"<section><h2>{esc(one.title)}</h2>{said}{shown}</section>" if said or shown else ""

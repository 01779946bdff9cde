"""The card of a version, read back from its bill of materials (HOME/models/WORKLOAD/VERSION.bom.json): for a page, for Markdown, for a count.

    card = Card.read(bom_file(home, "co2", "3"))
    completeness(card).missing                      # what a whole card would say and this one does not

Nothing is added here: what a page shows is what the document says. Knows nothing of how the document was made.
"""

from serving.cards.reading import Card, bom_file, card_file, card_path, markdown_file
from serving.cards.sections import Section, sections
from serving.cards.wanted import Completeness, completeness

__all__ = ["Card", "Completeness", "Section", "bom_file", "card_file", "card_path", "completeness", "markdown_file", "sections"]

"""How a model stands: what the ledger and the records say of it, as one view that a page draws and `aiprime status` prints.

    found = read(Ledger.at(home), Records.at(home), "co2")     # all that is read, bounded: its cost does not grow with the years
    shown = plain(found)                                       # the same facts as JSON

Knows no HTML and no terminal. Decides nothing: a state that is shown here is one that the monitors and the trigger put on record.
"""

from serving.standing.reading import briefly, known, read
from serving.standing.view import Arm, Feature, Look, Mark, Retrain, Retrains, Said, Signal, Standing, plain

__all__ = [
    "Arm",
    "Feature",
    "Look",
    "Mark",
    "Retrain",
    "Retrains",
    "Said",
    "Signal",
    "Standing",
    "briefly",
    "known",
    "plain",
    "read",
]

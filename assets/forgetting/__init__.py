"""Erasure: everything that is kept of an entity goes, it stays gone, and a signed receipt says what was done and what is left.

`find` looks and changes nothing; `forget` does it, and goes on where it was interrupted; `reapply` does it again after a restore. The key itself
is written nowhere: tombstones, receipts and the ledger state its keyed digest (data/forgotten.py).
"""

from assets.forgetting.doing import forget, reapply
from assets.forgetting.looking import Found, find, workloads_with_entities
from assets.forgetting.receipt import Receipt, read

__all__ = ["Found", "Receipt", "find", "forget", "read", "reapply", "workloads_with_entities"]

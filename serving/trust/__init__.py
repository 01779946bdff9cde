"""Whether a model's folder may be loaded: signatures, release statements and keys, checked with `cryptography` alone.

Nothing here parses a model. Who signs folders is `training/signing.py`; which version may serve is the ledger's.
"""

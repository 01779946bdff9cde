"""The serving layer: the KServe model server, what stands in front of it, and the ledger. It never reaches the training stack."""

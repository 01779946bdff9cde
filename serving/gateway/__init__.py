"""The gateway: one stable URL per workload, in front of whichever server the ledger's champion runs on."""

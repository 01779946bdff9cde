"""Measurements, each runnable by `python -m benchmarks.NAME`; what they gave is in docs/log.md."""

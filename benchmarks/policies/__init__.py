"""Five ways to keep a model up to date, played over the same past: `python -m benchmarks.policies`."""

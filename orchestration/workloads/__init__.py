"""One folder per model, one `defs.yaml` in each. No Python."""

"""The training layer: one contract, one loop, one folder per model family. It knows nothing of serving or Dagster."""

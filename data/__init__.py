"""The data layer: sources, checks, features and versions. It knows nothing of training, serving or Dagster."""

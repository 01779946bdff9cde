"""Tests of infra/: locks, environment, audit."""

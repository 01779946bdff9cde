"""What the tests of faults share."""

from tests.faults.preloading import preload as preload  # noqa: PLC0414  (a fixture)

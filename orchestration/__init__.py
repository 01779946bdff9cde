"""When, and with what: the composition root, the schedules and sensors, and the `aiprime` command."""

"""Backup and restore of one AIPRIME_HOME and of what belongs to it in the project's folder."""

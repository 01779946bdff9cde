"""Dagster's SQLite storage, that waits for another writer as long as our own databases do.

Dagster's own waits half a minute for its event logs, and five seconds for runs and schedules: a run that is asked for while a backup or a slow
disk holds the lock is lost. dagster.yaml names this class; the files are the same.
"""

from typing import Any

from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

_WAIT_S = 30


class PatientStorage(DagsterSqliteStorage):
    """The same three databases, with a timeout on each connection."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        for kept in (self._run_storage, self._schedule_storage):
            kept._conn_string += f"?timeout={_WAIT_S}"  # sqlite3.connect's argument

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Any) -> "PatientStorage":
        """As the base class, which would make one of itself."""
        return cls.from_local(inst_data=inst_data, **config_value)

"""MLflow's registered versions as they lie on the disk: looked at without a server, read only.

Knows MLflow's tables and its folder of artifacts at the pinned version (3.17), as `training/tracking.py` has them made; nothing else does.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

from data.files import tree_digest

_SERVED = "mlflow-artifacts:/"
_VERSIONS = """
    SELECT v.name, v.version, v.storage_location,
           max(CASE WHEN t.key = 'model_digest' THEN t.value END), max(CASE WHEN t.key = 'files' THEN t.value END)
    FROM model_versions v LEFT JOIN model_version_tags t ON t.name = v.name AND t.version = v.version
    WHERE v.current_stage <> 'Deleted_Internal' GROUP BY v.name, v.version ORDER BY v.name, v.version
"""


def amiss(store: Path) -> tuple[int, list[str]]:
    """How many registered versions have their files in HOME/mlflow, and a sentence for each whose files are missing or changed.

    Versions whose files `aiprime gc` deleted, and those kept by another artifact store, are not counted. sqlite3.DatabaseError where the
    database cannot be read.
    """
    if not (store / "mlflow.db").is_file():
        return 0, []
    with closing(sqlite3.connect(f"file:{quote(str(store / 'mlflow.db'))}?mode=ro", uri=True, timeout=30)) as database:
        versions = database.execute(_VERSIONS).fetchall()
    looked, bad = 0, []
    for name, version, location, digest, freed in versions:
        if freed or not digest or not str(location).startswith(_SERVED):
            continue
        looked += 1
        folder = store / "artifacts" / unquote(str(location).removeprefix(_SERVED)) / "data" / "model"
        found = tree_digest(folder) if folder.is_dir() else None
        if found != digest:
            said = "are missing" if found is None else f"have the digest {found[:12]}, registered was {digest[:12]}"
            bad.append(f"{name} {version}: MLflow's files {said}: {folder}")
    return looked, bad

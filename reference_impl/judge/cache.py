"""Verdicts on disk, by the content of the question: what was paid for once is not asked again."""

import json
import sqlite3
import threading
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from reference_impl.judge.rubric import ItemVerdict, Judgement

# Jobs that write at the same moment wait for each other this long.
_LOCK_WAIT_S = 60.0


class VerdictCache:
    """An SQLite file of judgements by key, shared by threads and by concurrent jobs on one machine.

    A cache that becomes unreadable costs money, not results: `errors` counts failed reads and writes.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises ValueError where it cannot be one."""
        self.path = path
        self.errors = 0
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, judgement TEXT NOT NULL)"
                )
        except (sqlite3.Error, OSError) as error:
            raise ValueError(f"{path}: cannot be used as a cache of verdicts: {error}") from None

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_LOCK_WAIT_S)

    def get(self, key: str) -> Judgement | None:
        """The stored judgement, None where there is none that can be read."""
        try:
            with closing(self._connect()) as connection:
                row = connection.execute("SELECT judgement FROM verdicts WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            stored = json.loads(row[0])
            return Judgement(**{**stored, "items": tuple(ItemVerdict(**item) for item in stored["items"])})
        except (sqlite3.Error, ValueError, TypeError, KeyError):
            self._count_error()
            return None

    def put(self, key: str, judgement: Judgement) -> Judgement:
        """Store a judgement and return the one that is stored: another job's, if that came first."""
        try:
            with closing(self._connect()) as connection, connection:
                # ASCII JSON: the model's text may hold unpaired surrogates, which SQLite cannot.
                connection.execute(
                    "INSERT INTO verdicts VALUES (?, ?) ON CONFLICT (key) DO NOTHING",
                    (key, json.dumps(asdict(judgement))),
                )
        except sqlite3.Error:
            self._count_error()
            return judgement
        return self.get(key) or judgement

    def _count_error(self) -> None:
        with self._lock:
            self.errors += 1

"""Verdicts on disk, by the content of the question: what was paid for once is not asked again."""

import json
import sqlite3
import threading
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from reference_impl.judge.rubric import Judgement

# Jobs that write at the same moment wait for each other this long.
_LOCK_WAIT_S = 60.0
_JUDGEMENT = TypeAdapter(Judgement)


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
            self._execute("CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, judgement TEXT NOT NULL)")
        except (sqlite3.Error, OSError) as error:
            raise ValueError(f"{path}: cannot be used as a cache of verdicts: {error}") from None

    def get(self, key: str) -> Judgement | None:
        """The stored judgement, None where there is none that can be read."""
        try:
            rows = self._execute("SELECT judgement FROM verdicts WHERE key = ?", key)
            return _JUDGEMENT.validate_python(json.loads(rows[0][0])) if rows else None
        except (sqlite3.Error, ValueError, TypeError):
            self._count_error()
            return None

    def put(self, key: str, judgement: Judgement) -> Judgement:
        """Store a judgement and return the one that is stored: another job's, if that came first."""
        # ASCII JSON: the model's text may hold unpaired surrogates, which SQLite cannot.
        stored = json.dumps(asdict(judgement))
        try:
            self._execute("INSERT INTO verdicts VALUES (?, ?) ON CONFLICT (key) DO NOTHING", key, stored)
        except sqlite3.Error:
            self._count_error()
            return judgement
        return self.get(key) or judgement

    def _execute(self, statement: str, *values: str) -> list[Any]:
        with closing(sqlite3.connect(self.path, timeout=_LOCK_WAIT_S)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def _count_error(self) -> None:
        with self._lock:
            self.errors += 1

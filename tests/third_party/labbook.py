"""Store each run in a SQLite database. Records that are delivered twice replace themselves."""

import json
import sqlite3
from typing import Any

from trackhooks import Tracker


class Labbook(Tracker):
    def start(self, run: Any, state: Any) -> None:
        self.db = sqlite3.connect(f"{run.path}/labbook.db")
        self.db.execute("CREATE TABLE IF NOT EXISTS notes (kind, name, x, value, UNIQUE (kind, name, x))")
        self.note("status", "", 0, "running")

    def note(self, kind: str, name: str, x: int, value: Any) -> None:
        self.db.execute("REPLACE INTO notes VALUES (?, ?, ?, ?)", (kind, name, x, json.dumps(value)))

    def log_params(self, params: Any, event: Any) -> None:
        self.log_metrics(params, "param", event)

    def log_metrics(self, metrics: Any, axis: str, event: Any) -> None:
        for name, value in metrics.items():
            self.note(axis, name, getattr(event, axis, 0), value)

    def log_text(self, text: Any, event: Any) -> None:
        self.note("text", text.name, event.step, text.text)

    def flush(self) -> dict[str, Any]:
        self.db.commit()
        return {}

    def finish(self, status: str, reason: str) -> None:
        self.note("status", "", 0, status)
        self.db.commit()
        self.db.close()

    def abort(self) -> None:
        self.db.close()

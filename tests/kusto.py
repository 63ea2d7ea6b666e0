"""KQL on this machine: read by Kusto's own language service, and run on log lines by DuckDB.

For: queries of infra/ and of documents. Not for: Azure Monitor itself, whose limits of time and
size, late lines and permissions nothing here knows.
"""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import duckdb_kql

PROJECT = Path(__file__).parent.parent
# https://learn.microsoft.com/azure/azure-monitor/reference/tables/apptraces
TABLES = {
    "AppTraces": """(TimeGenerated: datetime, Message: string, SeverityLevel: int,
        Properties: dynamic, Measurements: dynamic, OperationName: string, OperationId: string,
        ParentId: string, AppRoleName: string, AppRoleInstance: string, AppVersion: string,
        ClientType: string, ItemCount: int, ResourceGUID: string, Type: string)"""
}


def queries():
    """Every query of the project: the files in infra/, and the blocks in documents."""
    found = {
        str(path.relative_to(PROJECT)): path.read_text()
        for path in sorted(PROJECT.glob("infra/**/*.kql"))
    }
    for path in [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]:
        for n, block in enumerate(re.findall(r"```kusto\n(.*?)```", path.read_text(), re.DOTALL)):
            found[f"{path.name} {n}"] = block
    return found


def read(texts):
    """What is wrong with each query, and which texts and fields of `line` it has (kusto.js)."""
    subprocess.run([PROJECT / "scripts/kusto"], check=True)
    asked = json.dumps({"tables": TABLES, "queries": texts})
    run = subprocess.run(
        [PROJECT / ".kusto/node", Path(__file__).with_name("kusto.js")],
        input=asked,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


class Workspace:
    """Log lines as the table AppTraces, with a clock: what a query finds at some time."""

    def __init__(self, lines):
        self.database = duckdb_kql.connect()
        self.database.execute(
            "CREATE TABLE lines (TimeGenerated TIMESTAMP, Message VARCHAR, SeverityLevel INTEGER)"
        )
        rows = [(at.astimezone(UTC).replace(tzinfo=None), text, 1) for at, text in lines]
        self.database.executemany("INSERT INTO lines VALUES (?, ?, ?)", rows)
        self.translated = {}

    def find(self, query, at=None, minutes=1e6):
        """The rows of a query at a time, over the last minutes before it, as dictionaries.

        The lines are moved instead of the clock, since ago() knows the real time only.
        """
        at = (at or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
        self.database.execute(f"""
            CREATE OR REPLACE VIEW AppTraces AS
            SELECT * REPLACE (TimeGenerated + (now() AT TIME ZONE 'UTC' - TIMESTAMP '{at}') AS TimeGenerated)
            FROM lines WHERE TimeGenerated > TIMESTAMP '{at}' - INTERVAL {minutes} MINUTE
            AND TimeGenerated <= TIMESTAMP '{at}'""")
        if query not in self.translated:
            self.translated[query] = duckdb_kql.to_sql(query)
        found = self.database.sql(self.translated[query])
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

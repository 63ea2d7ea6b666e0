"""KQL on this machine: read by Kusto's own language service, and run on log lines by DuckDB.

For: queries of infra/ and of documents. Not for: Azure Monitor itself, whose limits of time and
size, late lines and permissions nothing here knows.
"""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb_kql

PROJECT = Path(__file__).parents[2]
# https://learn.microsoft.com/azure/azure-monitor/reference/tables: apptraces,
# microsoftgraphactivitylogs, auditlogs
TABLES = {
    "AppTraces": """(TimeGenerated: datetime, Message: string, SeverityLevel: int,
        Properties: dynamic, Measurements: dynamic, OperationName: string, OperationId: string,
        ParentId: string, AppRoleName: string, AppRoleInstance: string, AppVersion: string,
        ClientType: string, ItemCount: int, ResourceGUID: string, Type: string)""",
    "MicrosoftGraphActivityLogs": """(TimeGenerated: datetime, RequestId: string,
        OperationId: string, ClientRequestId: string, ApiVersion: string, RequestMethod: string,
        RequestUri: string, ResponseStatusCode: int, DurationMs: int, AppId: string, UserId: string,
        ServicePrincipalId: string, Roles: string, IPAddress: string, UserAgent: string)""",
    "AuditLogs": """(TimeGenerated: datetime, OperationName: string, Category: string,
        Result: string, ResultReason: string, ResultDescription: string, CorrelationId: string,
        ActivityDisplayName: string, LoggedByService: string, InitiatedBy: dynamic,
        TargetResources: dynamic, AdditionalDetails: dynamic, Identity: string)""",
}
TYPES = {"datetime": "TIMESTAMP", "string": "VARCHAR", "int": "INTEGER", "dynamic": "JSON"}
CAME_IN = "_CameIn"  # stands for ingestion_time(), which DuckDB does not have


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


def columns(table):
    """The columns of a table, and their types in DuckDB."""
    found = re.findall(r"(\w+): (\w+)", TABLES[table])
    return {name: TYPES[kind] for name, kind in found} | {CAME_IN: "TIMESTAMP"}


class Workspace:
    """Log lines as the table AppTraces, with a clock: what a query finds at some time.

    `lines`: (time, message) or (time, message, InvocationId). Each comes in `late` after its time.
    """

    def __init__(self, lines, late=timedelta(0)):
        self.database = duckdb_kql.connect()
        self.late = late
        for table in TABLES:
            declared = ", ".join(f"{name} {kind}" for name, kind in columns(table).items())
            self.database.execute(f"CREATE TABLE rows_{table} ({declared})")
        self.add("AppTraces", [self._line(*one) for one in lines])
        self.translated = {}

    def _line(self, at, text, invocation=""):
        properties = json.dumps({"InvocationId": invocation})
        return {"TimeGenerated": at, "Message": text, "SeverityLevel": 1, "Properties": properties}

    def add(self, table, rows):
        """Add rows to a table; a column that a row lacks is null."""
        names = columns(table)
        marks = ", ".join("?" * len(names))
        values = [
            [_utc(one | {CAME_IN: one["TimeGenerated"] + self.late}, name) for name in names]
            for one in rows
        ]
        if values:
            self.database.executemany(f"INSERT INTO rows_{table} VALUES ({marks})", values)

    def find(self, query, at=None, minutes=1e6):
        """The rows of a query at a time, over the last minutes before it, as dictionaries."""
        at = (at or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
        for table in TABLES:
            self.database.execute(f"""
                CREATE OR REPLACE VIEW {table} AS SELECT * FROM rows_{table}
                WHERE TimeGenerated > TIMESTAMP '{at}' - INTERVAL {minutes} MINUTE
                AND {CAME_IN} <= TIMESTAMP '{at}'""")
        if query not in self.translated:
            schema = {table: list(columns(table)) for table in TABLES}
            known = query.replace("ingestion_time()", CAME_IN)
            self.translated[query] = duckdb_kql.to_sql(known, schema=schema)
        sql = self.translated[query].replace("now()", f"TIMESTAMPTZ '{at}+00'")
        found = self.database.sql(sql)
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def _utc(row, name):
    value = row.get(name)
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value

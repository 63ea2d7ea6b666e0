"""KQL on this machine: read by Kusto's own language service, and run on log lines by DuckDB.

For: queries of infra/ and of documents. Not for: Azure Monitor itself, whose limits of time and
size, late lines and permissions nothing here knows.
"""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, timedelta
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


class Workspace:
    """Log lines with their times as the table AppTraces, with a clock: what a query finds at a time.

    Each line comes in `late` after its time.
    """

    def __init__(self, lines, late=timedelta(0)):
        columns = re.findall(r"(\w+): (\w+)", TABLES["AppTraces"])
        self.columns = {name: TYPES[kind] for name, kind in columns} | {CAME_IN: "TIMESTAMP"}
        self.database = duckdb_kql.connect()
        declared = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        self.database.execute(f"CREATE TABLE Lines ({declared})")
        self.database.execute(f"""CREATE VIEW AppTraces AS SELECT * FROM Lines
            WHERE TimeGenerated > getvariable('since') AND {CAME_IN} <= getvariable('until')""")
        insert = f"INSERT INTO Lines (TimeGenerated, {CAME_IN}, Message) VALUES (?, ?, ?)"
        for at, text in lines:
            self.database.execute(insert, [_naive(at), _naive(at + late), text])
        self.translated = {}

    def find(self, query, at, minutes=1e6):
        """The rows of a query at a time, over the last minutes before it, as dictionaries."""
        for name, value in (("until", at), ("since", at - timedelta(minutes=minutes))):
            self.database.execute(f"SET VARIABLE {name} = TIMESTAMP '{_naive(value)}'")
        if query not in self.translated:
            known = query.replace("ingestion_time()", CAME_IN)
            schema = {"AppTraces": list(self.columns)}
            self.translated[query] = duckdb_kql.to_sql(known, schema=schema)
        sql = self.translated[query].replace("now()", f"TIMESTAMPTZ '{_naive(at)}+00'")
        found = self.database.execute(sql)
        names = [one[0] for one in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _naive(at):
    """A time as DuckDB has it: of UTC, without saying so."""
    return at.astimezone(UTC).replace(tzinfo=None)

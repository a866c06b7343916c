"""What OpenLineage calls the tables of a tenant's warehouse.

By its rules for names: https://github.com/OpenLineage/OpenLineage/blob/main/spec/Naming.md. The same table has the same
name whichever tenant or program tells of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openlineage.common.provider.snowflake import fix_account_name

_POSTGRES_PORT = 5432


@dataclass(frozen=True)
class Place:
    """A server or file that holds tables.

    Attributes:
        namespace: OpenLineage's name of it, `postgres://host:port`.
        database: the database's own name there, where dbt calls it otherwise.
    """

    namespace: str
    database: str | None = None


@dataclass(frozen=True)
class Warehouse:
    """Where the tables of one dbt target lie.

    Attributes:
        dialect: dbt's name of the warehouse.
        place: where most of them lie.
        attached: where the others do, by the database's name in dbt.
    """

    dialect: str
    place: Place
    attached: Mapping[str, Place] = field(default_factory=dict)

    def name(self, node: Mapping[str, Any]) -> tuple[str, str]:
        """Namespace and name of the table that a node of dbt's manifest writes or reads."""
        place = self.attached.get(str(node.get("database") or ""), self.place)
        table = node.get("identifier") or node.get("alias") or node["name"]
        parts = (place.database or node.get("database"), node.get("schema"), table)
        return place.namespace, ".".join(str(part) for part in parts if part)


def warehouse(output: Mapping[str, Any]) -> Warehouse:
    """The warehouse behind one output of a `profiles.yml`, of which nothing secret is read."""
    match output["type"]:
        case "snowflake":
            place = Place(f"snowflake://{fix_account_name(str(output['account']))}")
        case "postgres":
            place = Place(_postgres(output))
        case _:
            place = Place(f"{output['type']}://{output.get('path', '')}")
    secrets = {secret.get("name"): secret for secret in output.get("secrets", [])}
    attached = {}
    for entry in output.get("attach", []):
        server = secrets.get(entry.get("secret"))
        if entry.get("type") == "postgres" and server:
            attached[str(entry["alias"])] = Place(_postgres(server), str(server["database"]))
    return Warehouse(str(output["type"]), place, attached)


def _postgres(server: Mapping[str, Any]) -> str:
    return f"postgres://{server['host']}:{server.get('port') or _POSTGRES_PORT}"

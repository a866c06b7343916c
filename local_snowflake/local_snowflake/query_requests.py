"""Query requests of the connector: bindings, running in a thread, and asking again for one that takes long.

The connector sends a request again after a broken connection, with the same request id; so a request that is running
or has just ended is answered from here, and never run twice.
"""

from __future__ import annotations

import concurrent.futures
import threading
import uuid
from typing import Any

from fakesnow.converter import from_binding
from fakesnow.statement_type import DML_TYPE_IDS

from local_snowflake.encoding import encode
from local_snowflake.errors import unsupported
from local_snowflake.results import Result, row_counts
from local_snowflake.session import Session

_MOST_THREADS = 128
_KEPT_ANSWERS = 100

Answer = dict[str, Any]


class QueryRequests:
    """The requests that run, and the last ones that have ended, by session and request id."""

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="statement")
        self._running: dict[tuple[str, str], concurrent.futures.Future[Answer]] = {}
        self._lock = threading.Lock()

    def submit(self, session: Session, request_id: str | None, body: dict[str, Any]) -> str:
        """Start a request, or find the one of that id; gives the id."""
        request_id = request_id or str(uuid.uuid4())
        with self._lock:
            if (session.id, request_id) not in self._running:
                self._running[session.id, request_id] = self._pool.submit(_run, session, body)
                ended = [key for key, future in self._running.items() if future.done()]
                for key in ended[:-_KEPT_ANSWERS]:
                    del self._running[key]
        return request_id

    def find(self, session: Session, request_id: str) -> concurrent.futures.Future[Answer] | None:
        return self._running.get((session.id, request_id))

    def forget(self, session_id: str) -> None:
        """The session is closed: nobody asks for its answers any more."""
        with self._lock:
            for key in [key for key in self._running if key[0] == session_id]:
                del self._running[key]

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _run(session: Session, body: dict[str, Any]) -> Answer:
    """Run the statement of a request; the `data` of the answer."""
    sql, bindings = str(body.get("sqlText") or ""), body.get("bindings") or {}
    if body.get("describeOnly"):
        result = _describe(session, sql)
    elif any(isinstance(binding["value"], list) for binding in bindings.values()):
        result = _run_rows(session, sql, bindings)
    else:
        result = session.execute(sql, _parameters(bindings))
    return encode(result) | {
        "parameters": [{"name": "TIMEZONE", "value": "Etc/UTC"}],
        "queryId": result.query_id,
        "statementTypeId": result.type_id,
        "finalDatabaseName": session.database,
        "finalSchemaName": session.schema,
        "finalWarehouseName": session.warehouse,
        "finalRoleName": session.role,
        "numberOfBinds": 0,
        "arrayBindSupported": False,
        "version": 1,
    }


def _describe(session: Session, sql: str) -> Result:
    """The columns of a query without its rows; a statement that changes something is not run for that."""
    if not sql.lstrip(" \n\t(").upper().startswith(("SELECT", "WITH", "SHOW", "DESC")):
        raise unsupported("describe of a statement that is not a query")
    result = session.execute(sql)
    result.table = result.table.slice(0, 0)
    return result


def _parameters(bindings: dict[str, Any]) -> list[Any] | dict[str, Any] | None:
    """Bound values: a list when they are numbered, a mapping when they are named."""
    if not bindings:
        return None
    if all(name.isdigit() for name in bindings):
        return [from_binding(bindings[str(number)]) for number in range(1, len(bindings) + 1)]
    return {name: from_binding(binding) for name, binding in bindings.items()}


def _run_rows(session: Session, sql: str, bindings: dict[str, Any]) -> Result:
    """An array binding: the statement once for each row, with the counts added up."""
    columns = []
    for number in range(1, len(bindings) + 1):
        binding = bindings[str(number)]
        columns.append([from_binding({**binding, "value": value}) for value in binding["value"]])
    results = session.execute_rows(sql, list(zip(*columns, strict=True)))
    last = results[-1]
    if last.type_id not in DML_TYPE_IDS:
        return last
    totals = {
        name: sum(int(result.table.column(place)[0].as_py()) for result in results)
        for place, (name, _) in enumerate(last.columns)
    }
    summed = row_counts(totals)
    summed.type_id, summed.query_id = last.type_id, last.query_id
    return summed

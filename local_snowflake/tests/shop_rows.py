"""The raw rows of the shop in three rounds: new, changed and deleted ones, and late ones.

Round 2 changes a customer and an order, and adds; round 3 deletes a customer and an order, changes again, and brings an
event for a day that the microbatch model no longer looks at.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Customer(NamedTuple):
    id: int
    name: str
    country: str
    email: str | None
    updated_at: str
    attributes: str | None = None


class Item(NamedTuple):
    sku: str
    qty: int
    price: str | None


class Order(NamedTuple):
    id: int
    customer_id: int
    amount: str
    status: str
    ordered_at: str
    loaded_at: str
    items: tuple[Item, ...] = ()


class Event(NamedTuple):
    id: int
    kind: str
    at: str
    n: int


ANN = Customer(1, " Ann ", "at", "a@x", "2026-11-01 00:00:00", '{"a":{"b":[1,2]}}')
BOB = Customer(2, "Bob", "de", "b@x", "2026-11-01 00:00:00")
BOBBY = Customer(2, "Bobby", "us", "b2@x", "2026-11-05 00:00:00")
EVE = Customer(3, "Eve O'Neil", "fr", None, "2026-11-02 00:00:00", '{"a":1}')
DAN = Customer(4, "Dan", "xx", "d@x", "2026-11-05 00:00:00", "[]")
DAN_MOVED = Customer(4, "Dan", "at", "d@x", "2026-11-09 00:00:00", "[]")

CUSTOMERS = {1: [ANN, BOB, EVE], 2: [ANN, BOBBY, EVE, DAN], 3: [BOBBY, EVE, DAN_MOVED]}

_TWO_ITEMS = (Item("A", 2, "10.00"), Item("B", 1, None))
_FOUR_C = (Item("C", 4, "2.50"),)
TEN = Order(10, 1, "100.50", "open", "2026-11-15 10:00:00", "2026-11-15 12:00:00", _TWO_ITEMS)
TEN_PAID = Order(10, 1, "90.25", "paid", "2026-11-15 10:00:00", "2026-11-18 12:00:00", _TWO_ITEMS)
ELEVEN = Order(11, 2, "20", "paid", "2026-11-16 10:00:00", "2026-11-16 12:00:00", (Item("A", 1, "10.00"),))
TWELVE = Order(12, 3, "30", "x", "2026-11-17 10:00:00", "2026-11-17 12:00:00")
THIRTEEN = Order(13, 2, "7.75", "open", "2026-11-18 09:00:00", "2026-11-18 12:00:00", _FOUR_C)
THIRTEEN_PAID = Order(13, 2, "8", "paid", "2026-11-18 09:00:00", "2026-11-19 12:00:00", _FOUR_C)
FOURTEEN = Order(14, 4, "1", "open", "2026-12-01 09:00:00", "2026-11-19 12:00:00", (Item("B", 1, "3"),))

ORDERS = {
    1: [TEN, ELEVEN, TWELVE],
    2: [TEN_PAID, ELEVEN, TWELVE, THIRTEEN],
    3: [TEN_PAID, TWELVE, THIRTEEN_PAID, FOURTEEN],
}

VIEW = Event(1, "view", "2026-11-15 01:00:00", 1)
CLICK = Event(2, "click", "2026-11-16 01:00:00", 2)
THIRD = Event(3, "view", "2026-11-19 05:00:00", 3)
FOURTH = Event(4, "view", "2026-11-20 23:59:59", 4)

EVENTS = {
    1: [VIEW, CLICK],
    2: [VIEW, CLICK, THIRD, FOURTH],
    3: [
        Event(1, "late, for an old batch", "2026-11-15 01:00:00", 1),
        CLICK,
        THIRD,
        Event(4, "view, corrected", "2026-11-20 23:59:59", 44),
        Event(5, "buy", "2026-11-21 00:30:00", 5),
    ],
}

TABLES = {
    "customers": "id int, name varchar, country varchar, email varchar, updated_at timestamp_ntz, attrs variant, "
    "loaded_at timestamp_ntz",
    "orders": "id int, customer_id int, amount number(12,2), status varchar, ordered_at timestamp_ntz, "
    "loaded_at timestamp_ntz, items variant",
    "events": "id int, kind varchar, at timestamp_ntz, payload variant, loaded_at timestamp_ntz",
    "by_metadata": "a int",
}


def load_statements(number: int) -> list[str]:
    """The SQL that puts a round into ANALYTICS.RAW."""
    raw = "ANALYTICS.RAW"
    statements = ["create role if not exists reporter", f"create schema if not exists {raw}"]
    for table, columns in TABLES.items():
        statements += [f"create table if not exists {raw}.{table} ({columns})", f"truncate table {raw}.{table}"]
    statements.append(f"insert into {raw}.by_metadata values (1)")
    for row in CUSTOMERS[number]:
        values = [*map(literal, row[:5]), f"parse_json({literal(row.attributes)})", "'2026-11-20'"]
        statements.append(f"insert into {raw}.customers select {', '.join(values)}")
    for order in ORDERS[number]:
        items = json.dumps([item._asdict() for item in order.items])
        values = [*map(literal, order[:6]), f"parse_json({literal(items)})"]
        statements.append(f"insert into {raw}.orders select {', '.join(values)}")
    for event in EVENTS[number]:
        payload = json.dumps({"n": event.n})
        values = [*map(literal, event[:3]), f"parse_json({literal(payload)})", "'2026-11-20'"]
        statements.append(f"insert into {raw}.events select {', '.join(values)}")
    return statements


def literal(value: Any) -> str:
    return "null" if value is None else "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"

"""What each model of the shop must hold after each round, worked out from the raw rows without any SQL.

The incremental models and the snapshots remember; the others are functions of one round's rows.
"""

from __future__ import annotations

import calendar
import datetime
import json
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shop_rows import CUSTOMERS, EVENTS, ORDERS, Customer, Order

COUNTRY_NAMES = {
    "AT": "Österreich",
    "DE": "Deutschland",
    "FR": "France, l'Hexagone",
    "US": "$NAME \\ back",
    "XX": None,
}
FIRST_BATCH = {1: "2026-11-15", 2: "2026-11-20", 3: "2026-11-20"}
"""The first day that the microbatch model reads in a round; it is given to dbt, so that no date is the run's own."""
AFTER_LAST_BATCH = "2026-11-22"

Rows = list[tuple[Any, ...]]


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def status_of(order: Order) -> str:
    return "cancelled" if order.status == "x" else order.status


@dataclass
class Version:
    """One row of a snapshot."""

    row: tuple[Any, ...]
    valid_to: datetime.datetime | str | None = None
    deleted: str = "False"

    @property
    def is_current(self) -> bool:
        return self.valid_to is None


@dataclass
class Expected:
    """The contents of all models; `advance` goes on by one round."""

    merged: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    some_columns: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    first_amount: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    appended: Rows = field(default_factory=list)
    microbatch: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    customer_versions: list[Version] = field(default_factory=list)
    order_versions: list[Version] = field(default_factory=list)
    newest: datetime.datetime = datetime.datetime.min
    builds: int = 0
    round: int = 0

    def advance(self) -> None:
        self.round += 1
        self.builds += 1
        self._incremental(ORDERS[self.round])
        self._microbatch()
        self._customer_snapshot(CUSTOMERS[self.round])
        self._order_snapshot(ORDERS[self.round])

    def _incremental(self, orders: list[Order]) -> None:
        new = [order for order in orders if moment(order.loaded_at) > self.newest]
        self.newest = max([self.newest, *(moment(order.loaded_at) for order in new)])
        for order in new:
            amount, status, loaded_at = Decimal(order.amount), status_of(order), moment(order.loaded_at)
            key = order.id
            self.merged[key] = (key, order.customer_id, amount, status, moment(order.ordered_at), loaded_at)
            kept = self.some_columns.get(key, (key, amount))[1]
            self.some_columns[key] = (key, kept, status, loaded_at)
            first = self.first_amount.get(key, (key, amount))[1]
            self.first_amount[key] = (key, first, amount, loaded_at)
            self.appended.append((key, status, loaded_at))

    def _microbatch(self) -> None:
        first = moment(FIRST_BATCH[self.round])
        self.microbatch = {key: row for key, row in self.microbatch.items() if row[2] < first}
        for event in EVENTS[self.round]:
            if moment(event.at) >= first:
                self.microbatch[event.id] = (event.id, event.kind, moment(event.at), event.n)

    def _customer_snapshot(self, customers: list[Customer]) -> None:
        """By timestamp; a deleted row is closed."""
        rows = {
            row.id: (row.id, row.name.strip(), row.country.upper(), row.email, moment(row.updated_at))
            for row in customers
        }
        for version in [version for version in self.customer_versions if version.is_current]:
            row = rows.get(version.row[0])
            if row is None:
                version.valid_to = "the time of the run"
            elif row[4] > version.row[4]:
                version.valid_to = row[4]
        current = {version.row[0] for version in self.customer_versions if version.is_current}
        self.customer_versions += [Version(row) for key, row in rows.items() if key not in current]

    def _order_snapshot(self, orders: list[Order]) -> None:
        """By check of two columns; a deleted row gets a record of its own."""
        rows = {order.id: (order.id, status_of(order), Decimal(order.amount)) for order in orders}
        for version in [version for version in self.order_versions if version.is_current]:
            row = rows.get(version.row[0])
            if version.deleted == "True" or row == version.row:
                continue
            version.valid_to = "the time of the run"
            self.order_versions.append(Version(version.row, deleted="True") if row is None else Version(row))
        current = {version.row[0] for version in self.order_versions if version.is_current}
        self.order_versions += [Version(row) for key, row in rows.items() if key not in current]

    def customers(self) -> Rows:
        active = [order for order in ORDERS[self.round] if order.status != "x"]
        rows: Rows = []
        for customer in CUSTOMERS[self.round]:
            amounts = [Decimal(order.amount) for order in active if order.customer_id == customer.id]
            country = customer.country.upper()
            segment = "vip" if len(amounts) >= 2 else "std"
            total = sum(amounts, Decimal(0))
            name = customer.name.strip()
            rows.append((customer.id, name, country, COUNTRY_NAMES[country], len(amounts), total, segment))
        return rows

    def report(self) -> Rows:
        names = [row[1] for row in self.customers()]
        return [(name,) for name in names if name.lower().startswith("a") or "b" in name.lower() or "e" in name.lower()]

    def countries(self) -> Rows:
        return list(Counter(customer.country.upper() for customer in CUSTOMERS[self.round]).items())

    def items(self) -> Rows:
        sold = defaultdict(list)
        for order in ORDERS[self.round]:
            for item in order.items:
                sold[item.sku].append((order.id, item.qty, Decimal(item.price or 0)))
        total = sum(qty for rows in sold.values() for _, qty, _ in rows)
        return [
            (
                sku,
                sum(qty for _, qty, _ in rows),
                float(sum(qty * price for _, qty, price in rows)),
                round(sum(qty for _, qty, _ in rows) / total, 9),
                ",".join(sorted({str(order) for order, _, _ in rows})),
                sorted(order for order, _, _ in rows),
                {"sku": sku, "qty": sum(qty for _, qty, _ in rows)},
                float(statistics.median(price for _, _, price in rows)),
            )
            for sku, rows in sold.items()
        ]

    def months(self) -> Rows:
        by_month = defaultdict(list)
        for order in ORDERS[self.round]:
            by_month[order.ordered_at[:7]].append(order)
        rows: Rows = []
        for month, orders in by_month.items():
            year, number = map(int, month.split("-"))
            first, last = (moment(pick(order.ordered_at for order in orders)) for pick in (min, max))
            average = sum(Decimal(order.amount) for order in orders) / len(orders)
            rows.append(
                (
                    month,
                    datetime.date(year, number, calendar.monthrange(year, number)[1]),
                    datetime.date(year, number, 1),
                    (last.date() - first.date()).days,
                    last + datetime.timedelta(days=1),
                    round(float(average), 4),
                    len(orders),
                )
            )
        return rows

    def pivoted(self) -> Rows:
        amounts: dict[str, Decimal | None] = {}
        for order in ORDERS[self.round]:
            amounts[status_of(order)] = (amounts.get(status_of(order)) or Decimal(0)) + Decimal(order.amount)
        return [(amounts.get("open"), amounts.get("paid"), amounts.get("cancelled"))]

    def seed(self) -> Rows:
        return [("US", "$NAME \\ back", Decimal("0.00"), datetime.date(1776, 7, 4)), ("XX", None, None, None)]

    def calendar(self) -> Rows:
        return [(datetime.date(2026, 11, day),) for day in range(1, 31)]


def plain(rows: list[tuple[Any, ...]]) -> Rows:
    """Rows with JSON texts as the values they hold, so that the spacing of JSON does not matter."""
    return [tuple(_plain(value) for value in row) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        return json.loads(value)
    return value

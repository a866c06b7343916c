"""What a client may be told: Snowflake's codes, SQL states and wordings, and the way there from any exception.

Every exception ends as one of these, because the connector retries a 5xx or a broken body for minutes. The codes and
texts are those that Snowflake's documentation and the connector's own tests show.
"""

from __future__ import annotations

import re

import duckdb
import snowflake.connector.errors as connector_errors
import sqlglot.errors


class SqlError(Exception):
    """A statement failed: Snowflake's error number, SQL state and message."""

    def __init__(self, errno: int, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.errno, self.sqlstate, self.message = errno, sqlstate, message


class LoginError(Exception):
    """A login or a token was refused: Snowflake's six-digit code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def compilation_error(message: str, errno: int = 1003, sqlstate: str = "42000") -> SqlError:
    return SqlError(errno, sqlstate, f"SQL compilation error:\n{message}")


def unsupported(what: str) -> SqlError:
    """What this server can't do, refused by its name."""
    return SqlError(2, "0A000", f"SQL compilation error:\nUnsupported feature '{what}' (local Snowflake).")


def missing(kind: str, name: str, sqlstate: str = "02000") -> SqlError:
    return compilation_error(f"{kind} '{name}' does not exist or not authorized.", 2003, sqlstate)


def already_exists(name: str) -> SqlError:
    return compilation_error(f"Object '{name}' already exists.", 2002, "42710")


def no_such_object() -> SqlError:
    """The answer to USE and SHOW ... IN for something that is not there."""
    return compilation_error("Object does not exist, or operation cannot be performed.", 2043, "02000")


def from_exception(error: BaseException, sql: str) -> SqlError:
    """The Snowflake error for any exception that a statement raised.

    Args:
        error: what was raised, by us, sqlglot, fakesnow or DuckDB.
        sql: the client's own text, for the line and position; DuckDB saw another one.
    """
    if isinstance(error, SqlError):
        return error
    if isinstance(error, sqlglot.errors.SqlglotError):
        return _from_sqlglot(error)
    if isinstance(error, connector_errors.Error):
        errno = error.errno if (error.errno or 0) > 0 else 1003
        return SqlError(errno, error.sqlstate or "42000", error.raw_msg or str(error))
    if isinstance(error, duckdb.Error):
        return _from_duckdb(error, sql)
    if isinstance(error, RecursionError):
        return SqlError(603, "XX000", "SQL compilation error:\nThe statement is nested too deeply (local Snowflake).")
    if isinstance(error, NotImplementedError):
        return unsupported(str(error))
    return _at(sql, f"{type(error).__name__}: {_first_lines(error)}")


def _from_sqlglot(error: sqlglot.errors.SqlglotError) -> SqlError:
    if isinstance(error, sqlglot.errors.ParseError):
        place = (error.errors or [{}])[0]
        line, column = place.get("line", 1), max((place.get("col") or 1) - 1, 0)
        return compilation_error(
            f"syntax error line {line} at position {column} unexpected '{place.get('highlight') or '<EOF>'}'."
        )
    if isinstance(error, sqlglot.errors.TokenError):
        return compilation_error(f"parse error line 1 at position 0 near '<EOF>'.\n{_first_lines(error, 3)}")
    return unsupported(_first_lines(error, 3))


def _from_duckdb(error: duckdb.Error, sql: str) -> SqlError:
    message = _first_lines(error)
    if isinstance(error, duckdb.InterruptException):
        return SqlError(604, "57014", "SQL execution canceled")
    if isinstance(error, duckdb.CatalogException):
        return _from_catalog(message, sql)
    if isinstance(error, duckdb.BinderException):
        return _from_binder(message, sql)
    if isinstance(error, duckdb.ParserException):
        line, position = _place(sql, message)
        return compilation_error(f"syntax error line {line} at position {position}\n{message}")
    if isinstance(error, duckdb.ConstraintException):
        if found := re.search(r"NOT NULL constraint failed: (?:\S*\.)?(\S+)", message):
            return SqlError(100072, "22000", f"NULL result in a non-nullable column '{found[1]}'")
        return SqlError(200001, "22000", message)
    if "Division by zero" in message:
        return SqlError(100051, "22012", "Division by zero")
    if isinstance(error, duckdb.ConversionException | duckdb.InvalidInputException):
        return SqlError(100038, "22018", message)
    if isinstance(error, duckdb.OutOfRangeException):
        return SqlError(100058, "22000", message)
    return _at(sql, f"{type(error).__name__}: {message}")


def _from_catalog(message: str, sql: str) -> SqlError:
    if found := re.search(r"(?:Table|View) with name (\S+) does not exist", message):
        text = f"Object '{found[1].upper()}' does not exist or not authorized."
        return _at(sql, text, message, errno=2003, sqlstate="42S02")
    if found := re.search(r"(?:Scalar |Aggregate |Table |)Function with name (\S+) does not exist", message):
        return _at(sql, f"Unknown function {found[1].upper()}.", message, errno=2140, sqlstate="42601")
    if found := re.search(r'(?:Table|View|Schema|Sequence) with name "?([^"\s]+)"? already exists', message):
        return already_exists(found[1].upper())
    return _at(sql, message, errno=2003, sqlstate="02000")


def _from_binder(message: str, sql: str) -> SqlError:
    if found := re.search(r'Referenced column "([^"]+)" not found|does not have a column named "([^"]+)"', message):
        return _at(sql, f"invalid identifier '{found[1] or found[2]}'", message, errno=904)
    if "mbiguous" in message and (found := re.search(r'"([^"]+)"', message)):
        return compilation_error(f"ambiguous column name '{found[1]}'", 2028, "42601")
    return _at(sql, message)


def _at(sql: str, text: str, clue: str | None = None, errno: int = 1003, sqlstate: str = "42000") -> SqlError:
    line, position = _place(sql, clue or text)
    return SqlError(errno, sqlstate, f"SQL compilation error: error line {line} at position {position}\n{text}")


def _place(sql: str, message: str) -> tuple[int, int]:
    """Line and position of the first name of a DuckDB message that the client's SQL has too, else its beginning."""
    for in_quotes, bare in re.findall(r'"([^"]+)"|name ([A-Za-z_0-9.]+) does', message):
        name = (in_quotes or bare).split(".")[-1]
        if name and (found := re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE)):
            before = sql[: found.start()]
            return before.count("\n") + 1, found.start() - (before.rfind("\n") + 1)
    return 1, 0


def _first_lines(error: BaseException, count: int = 2) -> str:
    """The first lines of a message that are not blank, without terminal colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return "\n".join([line for line in plain.splitlines() if line.strip()][:count])[:2000]

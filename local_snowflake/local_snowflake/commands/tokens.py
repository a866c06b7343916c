"""Reading a statement word by word, with the names and strings that commands are made of."""

from __future__ import annotations

from sqlglot import Token, TokenType, tokenize
from sqlglot.dialects.snowflake import Snowflake

from local_snowflake.errors import SqlError, compilation_error


class Tokens:
    """The tokens of one statement and a place among them."""

    def __init__(self, sql: str) -> None:
        self._tokens = [token for token in tokenize(sql, read=Snowflake) if token.token_type != TokenType.SEMICOLON]
        self._at = 0

    def word(self, ahead: int = 0) -> str:
        """A token's text in upper case without taking it; "" behind the end."""
        place = self._at + ahead
        return self._tokens[place].text.upper() if place < len(self._tokens) else ""

    def take(self, *words: str) -> bool:
        """Take these words if they are next; whether they were."""
        if any(self.word(ahead) != word for ahead, word in enumerate(words)):
            return False
        self._at += len(words)
        return True

    def expect(self, word: str) -> None:
        if not self.take(word):
            raise self.unexpected()

    def take_one_of(self, *words: str) -> str | None:
        """Take the next word if it is one of these, and give it."""
        return next((word for word in words if self.take(word)), None)

    @property
    def done(self) -> bool:
        return self._at >= len(self._tokens)

    def part(self) -> str:
        """Take a name without dots, or a word: as written when quoted, else in upper case."""
        token = self._next()
        return token.text if token.token_type == TokenType.IDENTIFIER else token.text.upper()

    def name(self) -> list[str]:
        """Take a name with its dots: one to three parts."""
        parts = [self.part()]
        while self.take("."):
            parts.append(self.part())
        if len(parts) > 3:
            raise compilation_error(f"syntax error line 1 at position 0 unexpected '{parts[-1]}'.")
        return parts

    def string(self) -> str:
        """Take a string or a value as it is written."""
        return self._next().text

    def properties(self) -> dict[str, str | None]:
        """Take `name = value` up to the end, with or without commas."""
        found: dict[str, str | None] = {}
        while not self.done:
            name = self.part()
            self.expect("=")
            found[name] = self.string()
            self.take(",")
        return found

    def names(self) -> list[str]:
        """Take `name, name` up to the end."""
        found = []
        while not self.done:
            found.append(self.part())
            self.take(",")
        return found

    def unexpected(self) -> SqlError:
        """The syntax error at this place."""
        if not self._tokens or self.done:
            return compilation_error("syntax error line 1 at position 0 unexpected '<EOF>'.")
        token = self._tokens[self._at]
        position = max(token.col - len(token.text), 0)
        return compilation_error(f"syntax error line {token.line} at position {position} unexpected '{token.text}'.")

    def _next(self) -> Token:
        if self.done:
            raise self.unexpected()
        token = self._tokens[self._at]
        self._at += 1
        return token

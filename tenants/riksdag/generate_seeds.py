"""Writes this project's seeds: members, documents and votes in the form of the Riksdag's open data.

Everything here is synthetic, and the fixed seed gives the same files on every machine: parties are letters, members
have numbers for names, and nobody voted. The columns are a part of those of https://data.riksdagen.se (personlista,
dokumentlista, voteringlista), under their own names. `--check` says whether the committed files still are what it
writes.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from random import Random

RANDOM_SEED = 1435
SEEDS = Path(__file__).parent / "seeds"
Row = tuple[object, ...]

# Members by party, and by constituency: both come to 349.
PARTIES = {"A": 107, "B": 73, "C": 68, "D": 24, "E": 24, "F": 19, "G": 18, "H": 16}
CONSTITUENCIES = {
    "Stockholms kommun": 29, "Stockholms län": 43, "Uppsala län": 12, "Södermanlands län": 11, "Östergötlands län": 16,
    "Jönköpings län": 13, "Kronobergs län": 6, "Kalmar län": 8, "Gotlands län": 2, "Blekinge län": 6,
    "Malmö kommun": 10, "Skåne läns norra och östra": 12, "Skåne läns södra": 14, "Skåne läns västra": 11,
    "Hallands län": 12, "Göteborgs kommun": 18, "Västra Götalands läns norra": 10, "Västra Götalands läns södra": 8,
    "Västra Götalands läns västra": 14, "Västra Götalands läns östra": 9, "Värmlands län": 10, "Örebro län": 12,
    "Västmanlands län": 10, "Dalarnas län": 10, "Gävleborgs län": 10, "Västernorrlands län": 9, "Jämtlands län": 5,
    "Västerbottens län": 11, "Norrbottens län": 8,
}  # fmt: skip
ORGANS = ["AU", "CU", "FiU", "FöU", "JuU", "KU", "KrU", "MJU", "NU", "SfU", "SkU", "SoU", "TU", "UbU", "UU"]
# Which documents a session has, and how many: motions, reports, bills, interpellations.
DOCUMENTS = {"mot": 180, "bet": 60, "prop": 40, "ip": 20}
SESSIONS = {"2023/24": date(2023, 9, 12), "2024/25": date(2024, 9, 10)}
VOTES_PER_SESSION = 8
# How likely a party's members are to vote with it, and to be away.
LOYALTY, ABSENCE = 0.97, 0.12


def members(random: Random) -> list[Row]:
    parties = [party for party, seats in PARTIES.items() for _ in range(seats)]
    places = [place for place, seats in CONSTITUENCIES.items() for _ in range(seats)]
    random.shuffle(parties)
    return [
        (
            f"{number:010d}",
            "Ledamot",
            f"Nr {number}",
            random.choice(["kvinna", "man"]),
            random.randint(1950, 2002),
            party,
            place,
            "Tjänstgörande riksdagsledamot" if random.random() > 0.05 else "Tjänstledig",
        )
        for number, (party, place) in enumerate(zip(parties, places, strict=True), start=1)
    ]


def documents(random: Random) -> list[Row]:
    rows: list[Row] = []
    for session, opened in SESSIONS.items():
        for kind, count in DOCUMENTS.items():
            for number in range(1, count + 1):
                organ = random.choice(ORGANS)
                name = f"{organ}{number}" if kind == "bet" else str(number)
                day = opened + timedelta(days=random.randint(0, 270))
                parts = session.replace("/", "")
                title = f"Syntetiskt dokument {name}"
                rows.append((f"{kind.upper()}{parts}{name}", session, name, kind, organ, title, day.isoformat()))
    return rows


def votes(random: Random, chamber: list[Row], papers: list[Row]) -> list[Row]:
    """Votes on reports: a party has a line, and its members mostly keep to it."""
    rows: list[Row] = []
    for session in SESSIONS:
        reports = [paper for paper in papers if paper[1] == session and paper[3] == "bet"]
        for paper in random.sample(reports, VOTES_PER_SESSION):
            lines = {party: random.choice(["Ja", "Nej", "Ja", "Nej", "Avstår"]) for party in PARTIES}
            for member in chamber:
                line = lines[str(member[5])]
                own = line if random.random() < LOYALTY else random.choice(["Ja", "Nej", "Avstår"])
                cast = "Frånvarande" if random.random() < ABSENCE else own
                rows.append((f"V-{paper[0]}", paper[0], session, member[0], cast))
    return rows


HEADERS = {
    "personlista": "intressent_id tilltalsnamn efternamn kon fodd_ar parti valkrets status",
    "dokumentlista": "dok_id rm beteckning typ organ titel datum",
    "voteringlista": "votering_id dok_id rm intressent_id rost",
}


def seeds() -> dict[str, str]:
    """The text of every file, by its name."""
    random = Random(RANDOM_SEED)  # noqa: S311  no secret hangs on it
    chamber, papers = members(random), documents(random)
    rows = {"personlista": chamber, "dokumentlista": papers, "voteringlista": votes(random, chamber, papers)}
    return {name: _csv(header.split(), rows[name]) for name, header in HEADERS.items()}


def _csv(header: list[str], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a committed file differs")
    check = parser.parse_args().check
    written = seeds()
    differing = [name for name, text in written.items() if _read(name) != text]
    if check:
        sys.exit(f"differs: {', '.join(differing)}" if differing else 0)
    for name, text in written.items():
        (SEEDS / f"{name}.csv").write_text(text, encoding="utf-8")


def _read(name: str) -> str:
    file = SEEDS / f"{name}.csv"
    return file.read_text(encoding="utf-8") if file.exists() else ""


if __name__ == "__main__":
    main()

"""What a verification says: every link of a proof, and what all of them amount to.

Belongs here: the words of a verdict. Does not belong here: finding it (``proof.verification``).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from panoptic_assets.spec.records import Record

State = Literal["same", "differs", "other", "unknown"]
"""Of a link: what was recorded; something else, which breaks the proof; a circumstance that is
another one now; not to be found out."""
MARKS: dict[State, str] = {"same": "✓", "differs": "✗", "other": "≠", "unknown": "?"}
LINKS = (
    "pixels",
    "vectors",
    "vectors of now",
    "points",
    "model",
    "neighbours",
    "tags",
    "runs",
    "scope",
    "parent",
    "base",
    "parameters",
    "record",
    "figures",
    "notes",
    "witness",
    "code",
    "libraries",
    "machine",
    "output",
    "assignments",
    "clusters",
)
"""In the order in which they are told."""
_GRAVEST: tuple[State, ...] = ("differs", "unknown", "other", "same")
_SHOWN = 3
"""Names in a line."""
Witness = Callable[[Record], str | None]
"""The root of the seal that Dagster's event log has for a record; None if it has none."""
NO_WITNESS = "nobody outside the store confirms that the record is the one that was made then"
REMEDY = (
    "verify with the Dagster instance in which it was made ($DAGSTER_HOME), or compare with a "
    "bundle that was written then"
)


@dataclass(frozen=True)
class Link:
    """One link of the chain."""

    name: str
    state: State
    text: str
    """What was found, in one line."""


@dataclass(frozen=True)
class Verdict:
    """What became of verifying one clustering."""

    key: str
    record_id: str
    answer: Literal["same", "differs", "not computed"]
    links: list[Link]
    reason: str = ""
    """Why it could not be computed."""
    forgotten: bool = False
    """Whether that is because an image that it held was forgotten, as it was asked for."""
    not_compared: list[str] = field(default_factory=list)
    """Fields of the record that it does not have, or that this version does not know; and links
    that could not be found out, but for the witness."""

    @property
    def failed(self) -> bool:
        """Whether somebody should look: it is not proved, and not because it cannot be any more."""
        return not self.proved and not (self.forgotten and not self.broken)

    @property
    def mark(self) -> str:
        """The verdict in one character."""
        whole = self.proved and self.witnessed
        return MARKS["same" if whole else "differs" if self.failed else "unknown"]

    @property
    def proved(self) -> bool:
        """Whether the answer is the same, on what was recorded, and is what is stored."""
        return self.answer == "same" and not self.broken

    @property
    def witnessed(self) -> bool:
        """Whether Dagster's event log confirms that the record is the one that was made then."""
        return any(link.name == "witness" and link.state == "same" for link in self.links)

    @property
    def broken(self) -> list[str]:
        """Names of the links that are not what was recorded."""
        return [link.name for link in self.links if link.state == "differs"]

    @property
    def circumstances(self) -> list[str]:
        """Names of the circumstances that differ."""
        return [link.name for link in self.links if link.state == "other"]

    @property
    def summary(self) -> str:
        """The verdict in one sentence."""
        broken, other = ", ".join(self.broken), ", ".join(self.circumstances)
        now = f"; other now: {other}" if other else ""
        rest = f"; not compared: {', '.join(self.not_compared)}" if self.not_compared else ""
        if self.answer == "same" and not broken:
            same = f"The same answer, though these differ: {other}" if other else "The same"
            same = f"{same}{rest}."
            return same if self.witnessed else f"Proved, no witness: {NO_WITNESS}. {same}"
        if self.answer == "same":
            unlike = f"these are not what was recorded: {broken}{now}{rest}"
            return f"The answer is the same, but {unlike}."
        if self.answer == "differs":
            return f"The answer differs: {broken}{now}{rest}."
        known = f" These are not what was recorded: {broken}." if broken else ""
        return f"Cannot be computed: {self.reason}{known}"

    def as_dictionary(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "key": self.key,
            "record_id": self.record_id,
            "proved": self.proved,
            "witnessed": self.witnessed,
            "answer": self.answer,
            "summary": self.summary,
            "not_compared": self.not_compared,
            "links": [asdict(link) for link in self.links],
        }

"""What is known of the inventory: what was read of it when, and why it is not read as it stands.

Belongs here: noting that in the store, and what is said of it. Does not belong here: reading the
inventory (``corpus.taking_inventory``), and the values that it gives (``corpus.properties``).
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from panoptic_assets.corpus.inventory import Unmatched
from panoptic_assets.corpus.inventory_findings import SameFindings
from resources.errors import Message, message, text_of
from resources.lance import LanceStore
from resources.schemas import SCHEMAS

_TABLE = "inventory"


class InventoryState(BaseModel, frozen=True):
    """What is known of the inventory.

    All figures are of the file whose values images have. One that is not read as it stands is only
    named beside it.
    """

    file: str = ""
    """Where the values that images have are from, for people; empty: none ever came in."""
    unread: str = ""
    """The inventory that is not read as it stands, for people: it cannot be, or a question about
    its values is open. Empty: the values are its own."""
    stamp: str = ""
    """Hash of all that the values follow from; empty where they must be read again."""
    values_version: int = 0
    """Of the table of values, when they were taken in."""
    digest: str = ""
    """SHA-256 of all values."""
    taken_at: datetime | None = None
    """When the values that images have were taken in; None: never."""
    nb_lines: int = 0
    nb_unmatched: int = 0
    """Lines that name no file of the corpus, or not a single one."""
    unmatched: tuple[Unmatched, ...] = ()
    """The first of them."""
    nb_findings: int = 0
    nb_causes: int = 0
    """Kinds of findings: of one column, with one cause."""
    findings: tuple[SameFindings, ...] = ()
    """The first of these kinds."""
    left_out: dict[str, int] = {}
    """By property, how many of its cells were left out."""
    undated: dict[str, int] = {}
    """By property, how many of its cells say that there is no date."""
    nb_images: dict[str, int] = {}
    """By property, how many images have a value."""
    problem: Any = None
    """Why the inventory could not be read, as a message; None: it could."""
    found_by: str = ""
    """The Dagster run that has found that first."""

    @property
    def said(self) -> Message | None:
        """What to tell people who wonder why the inventory is not read as it stands."""
        if self.problem is None:
            return None
        return message(
            "The inventory is not read as it stands. {problem} Until then images keep the values "
            "that they had.",
            id="inventory-not-read",
            problem=self.problem,
        )

    def described(self) -> dict[str, Any]:
        """As plain data, for programs: see :meth:`panoptic_assets.project.Project.status`."""
        said = self.said
        left_out = sorted(self.left_out.items(), key=lambda entry: (-entry[1], entry[0]))
        return {
            "file": self.file,
            "unread": self.unread,
            "taken_at": self.taken_at,
            "nb_lines": self.nb_lines,
            "nb_properties": len(self.nb_images),
            "nb_values": sum(self.nb_images.values()),
            "nb_unmatched": self.nb_unmatched,
            "unmatched": [vars(entry) for entry in self.unmatched],
            "nb_findings": self.nb_findings,
            "nb_undated": sum(self.undated.values()),
            "nb_causes": self.nb_causes,
            "findings": [asdict(same) for same in self.findings],
            "nb_left_out": sum(self.left_out.values()),
            "left_out": dict(left_out),
            "problem": text_of(said) if said else "",
            "message": said,
        }


def read_state(store: LanceStore) -> InventoryState | None:
    """What the last refresh has found; None where there is no inventory."""
    rows = store.read(_TABLE, ["content"])["content"].to_pylist()
    return InventoryState.model_validate_json(rows[0]) if rows else None


def note_state(store: LanceStore, state: InventoryState | None) -> bool:
    """Make this what is known of the inventory; False, and no commit, if it was.

    Args:
        store: The store.
        state: What is known; None: there is no inventory.
    """
    if read_state(store) == state:
        return False
    rows: list[dict[str, Any]] = []
    if state is not None:
        rows.append({"file": state.file, "content": state.model_dump_json()})
    store.replace(_TABLE, pa.Table.from_pylist(rows, schema=SCHEMAS[_TABLE]), "true")
    return True

"""Open questions: what a refresh asks a person, in the store until it is answered.

Belongs here: noting and reading them. Does not belong here: what is a question
(``corpus.absence``), and the checks by which Dagster shows them.

A refresh that nobody watches asks in vain: so the next page, the next command and Dagster's pages
of ``images`` and ``inventory`` say it as well.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

import pyarrow as pa

from resources.errors import Message, text_of
from resources.lance import LanceStore, quoted
from resources.schemas import SCHEMAS

QuestionKind = Literal["files", "values"]
"""``files``: files are gone, and the refresh was refused; ``values``: values are gone from the
inventory, and images keep them."""
_TABLE = "questions"


@dataclass(frozen=True)
class OpenQuestion:
    """What a person must say before a refresh takes it away."""

    kind: QuestionKind
    message: Message
    asked_at: datetime
    """When it was first asked."""

    @property
    def answer(self) -> str:
        """What a refresh is told by whoever means just this."""
        # A question that an earlier version has noted has none, and is asked anew.
        return str(self.message["values"].get("answer", ""))

    @property
    def text(self) -> str:
        """In English, one line."""
        return text_of(self.message)


def open_questions(store: LanceStore) -> list[OpenQuestion]:
    """What is asked, the files first."""
    rows = {row["kind"]: row for row in store.read(_TABLE).to_pylist()}
    return [
        OpenQuestion(kind, json.loads(rows[kind]["message"]), rows[kind]["asked_at"])
        for kind in get_args(QuestionKind)
        if kind in rows
    ]


def note_question(store: LanceStore, kind: QuestionKind, asked: Message | None) -> bool:
    """Make this the open question of its kind, or close that; False, and no commit, if it was.

    Args:
        store: The store.
        kind: The kind.
        asked: What is asked; None: nothing any more.
    """
    known = {question.kind: question.message for question in open_questions(store)}
    if known.get(kind) == asked:
        return False
    rows = []
    if asked is not None:
        said = json.dumps(asked, ensure_ascii=False)
        rows.append({"kind": kind, "message": said, "asked_at": datetime.now(UTC)})
    table = pa.Table.from_pylist(rows, schema=SCHEMAS[_TABLE])
    store.replace(_TABLE, table, f"kind = {quoted(kind)}")
    return True

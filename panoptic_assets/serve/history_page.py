"""All acts, with a switch for each that undoes it.

Belongs here: what is told of acts. Does not belong here: HTTP (``serve.live_pages``), and undoing
(``upkeep.undoing``).
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from panoptic_assets.serve.page_address import LiveAddresses, PageAddress
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.languages import N_

if TYPE_CHECKING:
    from panoptic_assets.project import Project

ACTS_ON_A_PAGE = 100
EVENTS_OF_TAG = 10
"""Acts on the page of a tag."""

KINDS = {
    "accept": N_("accepted recommendations"),
    "assign": N_("gave a tag"),
    "cluster": N_("clustered"),
    "create": N_("made a tag"),
    "create_property": N_("made a property"),
    "delete": N_("deleted tags"),
    "divide": N_("divided"),
    "import": N_("imported tags"),
    "labels": N_("named clusters"),
    "merge": N_("merged tags"),
    "move": N_("moved a tag"),
    "policy": N_("chose a policy"),
    "recolour": N_("coloured a tag"),
    "redo": N_("did it again"),
    "refuse": N_("refused recommendations"),
    "remark": N_("wrote a remark"),
    "remove": N_("removed"),
    "rename": N_("renamed a tag"),
    "save": N_("saved as tags"),
    "split": N_("moved images to another tag"),
    "unassign": N_("took a tag away"),
    "undo": N_("undid"),
    "assign_policy": N_("assigned new images"),
    "recluster": N_("clustered again"),
    "replay": N_("did everything again"),
}
"""What acts of each kind did."""

_TAKING_BACK = ("undo", "redo")


class AskedHistory(Parameters):
    """Which acts."""

    author: str = Field(default="", max_length=200, description="Only what somebody did.")
    kind: str = Field(default="", max_length=40, description="Only this kind of acts.")
    key: str = Field(
        default="", max_length=4200, description="Only on a run, a node below it, or a property."
    )
    page: int = Field(default=1, ge=1, lt=2**31, description="Which of its pages.")


def switched(project: "Project", acts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Acts as :meth:`Project.history` gives them, and what their switches need.

    Each has also ``can_switch`` (whether it is an act that can be undone or done again at all),
    ``against`` (what stands in the way now), ``did`` (what acts of its kind do), ``where``
    (``run``, ``cluster``, ``property``, ``image`` or ``tag``) and ``on`` (its key for people).
    """
    from panoptic_assets.upkeep.undoing import obstacles

    undone = {act["id"]: act["undone"] for act in acts if act["kind"] not in _TAKING_BACK}
    against = obstacles(project.store, project.registry.run_bytes, undone)
    return [
        {
            **act,
            "can_switch": act["id"] in undone,
            "against": against.get(act["id"], []),
            "did": _did(act),
            **_place(act),
        }
        for act in acts
    ]


def _did(act: dict[str, Any]) -> str:
    # A refresh that assigned new images has the kind of its policy, which an edit of tags has too.
    kind = act["kind"]
    if kind == "assign" and not act["id"].startswith("tag-"):
        kind = "assign_policy"
    return KINDS.get(kind, kind)


def _place(act: dict[str, Any]) -> dict[str, str]:
    key = act["key"]
    for kind in ("image", "tag"):
        if act["kind"] in ("remark", *_TAKING_BACK) and key.startswith(f"{kind}:"):
            return {"where": kind, "on": key.removeprefix(f"{kind}:")}
    if act["id"].startswith("tag-"):
        return {"where": "property", "on": key}
    return {"where": "cluster" if "/" in key else "run", "on": key}


def _history(project: "Project", asked: AskedHistory, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.spec.people import system_user

    acts = project.history()[::-1]
    found = [act for act in acts if _is_asked(act, asked)]
    count = max(1, -(-len(found) // ACTS_ON_A_PAGE))
    number = min(asked.page, count) - 1
    first = number * ACTS_ON_A_PAGE
    part = found[first : first + ACTS_ON_A_PAGE]
    return {
        "acts": switched(project, part),
        "asked": asked,
        "authors": sorted({act["author"] for act in acts if act["author"]}),
        "kinds": sorted(Counter(act["kind"] for act in acts)),
        "names": KINDS,
        "server_user": system_user(),
        "nb_acts": len(acts),
        "nb_found": len(found),
        "first": first + 1,
        "last": first + len(part),
        "number": number,
        "count": count,
    }


def _is_asked(act: dict[str, Any], asked: AskedHistory) -> bool:
    key = act["key"]
    return (
        (not asked.author or act["author"] == asked.author)
        and (not asked.kind or act["kind"] == asked.kind)
        and (not asked.key or key == asked.key or key.startswith(f"{asked.key}/"))
    )


HISTORY_PAGES: tuple[PageAddress, ...] = (
    PageAddress("history", "history.html", AskedHistory, _history, ("history.js",), ("tags.css",)),
)
"""In the order in which addresses are compared with them."""

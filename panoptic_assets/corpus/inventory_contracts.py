"""The data contracts of ``inventory``, judged after each materialization.

Belongs here: what must hold of the inventory, and how grave a breach is. Does not belong here:
reading it (``corpus.taking_inventory``), and what keeps the values that images have.

Of a file that cannot be read, nothing that people have written since comes in: that is an error.
That it names other files, or says what cannot be read, a person may knowingly live with: warnings.
"""

from collections.abc import Iterator

import dagster as dg

from panoptic_assets.corpus.assets import inventory
from panoptic_assets.corpus.inventory_state import InventoryState, read_state
from panoptic_assets.corpus.open_questions import open_questions
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.asset_checks import ContractVerdict, selected, specs
from panoptic_assets.spec.markdown import table
from panoptic_assets.spec.text import some
from resources.errors import text_of
from resources.lance import LanceStore
from resources.registry import Registry

_SHOWN = 10
_INVENTORY = {
    "inventory_readable": "The inventory is there and could be read. Otherwise images keep the "
    "values that they had.",
    "values_kept": "No more values were gone from the inventory at once than `max_missing` of "
    ".panoptic/project.yaml allows, or a person has said that they are gone for good "
    "(`panoptic-assets refresh --accept-missing`).",
    "lines_matched": "Of the lines of the inventory, the share that names no single file of the "
    "corpus is not above `max_unmatched` of .panoptic/project.yaml.",
    "cells_readable": "Of no column of the inventory, the share of cells that were left out is "
    "above `max_unmatched` of .panoptic/project.yaml.",
}


@dg.multi_asset_check(specs=specs(inventory, _INVENTORY), can_subset=True)
def inventory_contracts(
    context: dg.AssetCheckExecutionContext, acts: dg.ResourceParam[Acts]
) -> Iterator[dg.AssetCheckResult]:
    """The contracts of ``inventory``."""
    act = acts.context_after(context.run.run_id)
    yield from selected(context, inventory, _INVENTORY, _judged(act.store, act.registry))


def _judged(store: LanceStore, registry: Registry) -> Iterator[ContractVerdict]:
    state = read_state(store) or InventoryState()
    problem = text_of(state.problem) if state.problem else "(none)"
    yield ContractVerdict("inventory_readable", state.problem is None, {"problem": problem})

    asked = next((one for one in open_questions(store) if one.kind == "values"), None)
    question = {"question": asked.text if asked else "(none)"}
    warn, limit = dg.AssetCheckSeverity.WARN, registry.settings.max_unmatched
    yield ContractVerdict("values_kept", asked is None, question, warn)

    # Of a file that is not read as it stands nobody knows, and what was true of another is not told
    # as its own.
    judged = state if not state.unread else InventoryState()
    share = judged.nb_unmatched / judged.nb_lines if judged.nb_lines else 0.0
    first = [[one.line, one.name, one.nearest] for one in judged.unmatched[:_SHOWN]]
    lines = {
        "nb_unmatched": judged.nb_unmatched,
        "share": share,
        "limit": limit,
        "first": dg.MetadataValue.md(
            table(["line", "name", "nearest file"], first, total=judged.nb_unmatched)
        ),
    }
    yield ContractVerdict("lines_matched", share <= limit, lines, warn)

    shares = {
        name: left_out / (left_out + judged.nb_images.get(name, 0))
        for name, left_out in judged.left_out.items()
    }
    worst = [f"{name}: {share:.0%}" for name, share in sorted(shares.items()) if share > limit]
    cells = {
        "nb_left_out": sum(judged.left_out.values()),
        "limit": limit,
        "columns": some(worst, _SHOWN) or "(none)",
    }
    yield ContractVerdict("cells_readable", not worst, cells, warn)

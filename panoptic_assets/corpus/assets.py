"""The corpus: which images there are, and what the inventory says of them.

Belongs here: ``images`` and ``inventory``, and what Dagster shows of them. Does not belong here:
reading the folder (``corpus.ingestion``) and the inventory (``corpus.taking_inventory``), and what
changed in the folder (``corpus.manifest``).
"""

import dagster as dg

from panoptic_assets.corpus import ingestion, manifest, taking_inventory
from panoptic_assets.corpus.accounting import rows_of_kinds
from panoptic_assets.corpus.config import ImagesConfig, InventoryConfig
from panoptic_assets.corpus.contact_sheet import in_rows
from panoptic_assets.corpus.inventory_state import InventoryState
from panoptic_assets.corpus.open_questions import note_question, open_questions
from panoptic_assets.corpus.table import read_thumbnails
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.asset_checks import ContractVerdict, evaluation_of
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.running import CORPUS_POOL, FRESHNESS, plain_failures
from panoptic_assets.spec.markdown import table
from panoptic_assets.spec.records import digest
from resources.errors import MissingError, text_of
from resources.lance import LanceStore

_IMAGES_SHOWN = 24
_LISTED = 50
_CHANGES_BYTES = 14_000

NOTHING_MISSING = "nothing_missing"
"""The check that fails as long as a refresh asks whether what is missing is gone for good."""


@dg.asset(
    config_schema=schema_of(ImagesConfig),
    group_name="corpus",
    pool=CORPUS_POOL,
    kinds={"lancedb", "image"},
    code_version="4",
    freshness_policy=FRESHNESS,
)
@plain_failures()
def images(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """One row per image (content) and one per file: sizes, format, thumbnail, quarantine.

    A file whose size and times of change are as before is not read again, unless the configuration
    asks for it; a file that was moved or renamed keeps its image; one that is gone leaves a
    tombstone. Of a file with several pages, the largest is the image, or each is, as the project
    says. An image that was forgotten stays out. Every file of the folder is accounted for: taken,
    quarantined, or left out and why.

    Where so much is gone at once that a person must be asked, nothing is done unless the
    configuration accepts that.
    """
    try:
        plan = acts.plan(context, ingestion.prepare)
    except MissingError as error:
        store = acts.context_of(context).store
        note_question(store, "files", error.message)
        context.log_event(evaluation_of(images, nothing_missing(store)))
        raise
    return _corpus_result(ingestion.store(ingestion.run(plan)))


@dg.asset(
    deps=[images],
    config_schema=schema_of(InventoryConfig),
    group_name="corpus",
    pool=CORPUS_POOL,
    kinds={"lancedb", "table"},
    code_version="1",
    freshness_policy=FRESHNESS,
)
@plain_failures()
def inventory(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """One value per image and property: what the table beside the images says of them.

    That is the file which the project names, else what a IIIF manifest says. Where neither it nor
    the corpus has changed, it is not read again. Where it cannot be read, or so many values are
    gone from it at once that a person must be asked, images keep the values that they had, and a
    check fails: it never stops the images and their vectors.
    """
    plan = acts.plan(context, taking_inventory.prepare)
    read = taking_inventory.store(taking_inventory.run(plan))
    if read.fault:
        context.log.debug(read.fault)
    state = read.after or InventoryState()
    question = read.report.kept if read.report else None
    return dg.MaterializeResult(
        metadata={
            "file": state.file or "(none)",
            "unread": state.unread or "(none)",
            "outcome": read.outcome,
            "nb_lines": state.nb_lines,
            "nb_properties": len(state.nb_images),
            "nb_values": sum(state.nb_images.values()),
            "nb_unmatched": state.nb_unmatched,
            "nb_findings": state.nb_findings,
            "taken_at": state.taken_at.isoformat() if state.taken_at else "(never)",
            "problem": text_of(state.problem) if state.problem else "(none)",
            "question": text_of(question) if question else "(none)",
            "properties": dg.MetadataValue.md(
                table(
                    ["property", "images", "cells left out", "cells without a date"],
                    [
                        [
                            name,
                            f"{count:,}",
                            f"{state.left_out.get(name, 0):,}",
                            f"{state.undated.get(name, 0):,}",
                        ]
                        for name, count in state.nb_images.items()
                    ],
                    most=_LISTED,
                )
            ),
            "unmatched": dg.MetadataValue.md(
                table(
                    ["line", "name", "nearest file"],
                    [[entry.line, entry.name, entry.nearest] for entry in state.unmatched],
                    most=_LISTED,
                    total=state.nb_unmatched,
                )
            ),
            "findings": dg.MetadataValue.md(
                table(
                    ["column", "cause", "how many", "the first"],
                    [
                        [
                            same.column,
                            same.cause,
                            f"{same.count:,}",
                            "; ".join(f"line {one.line}: {one.value}" for one in same.first),
                        ]
                        for same in state.findings
                    ],
                    most=_LISTED,
                    total=state.nb_causes,
                )
            ),
        },
        data_version=dg.DataVersion(state.digest or digest("no inventory")),
    )


def nothing_missing(store: LanceStore) -> ContractVerdict:
    """Whether a refresh has asked nothing of files that nobody has answered yet.

    Args:
        store: Where questions are noted.
    """
    asked = next((one for one in open_questions(store) if one.kind == "files"), None)
    # Without an answer no image that is new comes in.
    found = {"question": asked.text if asked else "(none)"}
    return ContractVerdict(NOTHING_MISSING, asked is None, found)


def _corpus_result(ingested: ingestion.Ingested) -> dg.MaterializeResult[None]:
    plan, after = ingested.plan, ingested.after
    left_out = ingested.left_out
    changes = manifest.changes(plan.before, after)
    statuses = manifest.files_by_status((file.path, file.status) for file in after.values())
    present = {file.holds for file in after.values() if file.holds}
    version = manifest.corpus_version(after.values())
    newest = {after[path].holds for path in changes.added + changes.changed}
    shown = sorted(filter(None, newest or present))[:_IMAGES_SHOWN]
    quarantine = [
        [path, file.reason] for path, file in sorted(after.items()) if file.status == "quarantined"
    ]
    return dg.MaterializeResult(
        metadata={
            "nb_images": len(present),
            "nb_files": statuses["present"],
            "nb_files_missing": statuses["missing"],
            "nb_files_quarantined": statuses["quarantined"],
            "nb_files_forgotten": ingested.nb_forgotten,
            "nb_files_read": len(plan.todo.read),
            "nb_files_left_out": sum(found.files for found in left_out.values()),
            "nb_folders_left_out": sum(found.folders for found in left_out.values()),
            **{f"nb_{what}": len(paths) for what, paths in vars(changes).items()},
            "corpus_version": version,
            "changes": dg.MetadataValue.md(_changes_table(changes)),
            "quarantine": dg.MetadataValue.md(table(["file", "reason"], quarantine, most=_LISTED)),
            "left_out": dg.MetadataValue.md(
                table(["why", "files", "folders", "kinds", "first"], rows_of_kinds(left_out))
            ),
            "contact_sheet": dg.MetadataValue.md(
                in_rows(read_thumbnails(plan.context.store, shown))
            ),
        },
        data_version=dg.DataVersion(version),
    )


def _changes_table(changes: manifest.Changes) -> str:
    """What became of which file; of a kind, the first ones."""
    listed = {
        "added": changes.added,
        "changed": changes.changed,
        "moved": [f"{old} → {new}" for old, new in changes.moved],
        "returned": changes.returned,
        "duplicate": changes.duplicate,
        "missing": changes.missing,
        "quarantined": [f"{path}: {reason}" for path, reason in changes.quarantined],
    }
    listed = {what: files for what, files in listed.items() if files}
    tables = [
        table(
            [f"{what}: {len(files):,}"],
            [[file] for file in files],
            _LISTED,
            _CHANGES_BYTES // len(listed),
        )
        for what, files in listed.items()
    ]
    return "\n\n".join(tables) or "(none)"

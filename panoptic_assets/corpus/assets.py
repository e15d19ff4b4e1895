"""The corpus: which images there are.

Belongs here: ``images``, and what Dagster shows of it. Does not belong here: reading the folder
(``corpus.ingestion``), and what changed in it (``corpus.manifest``).
"""

import dagster as dg

from panoptic_assets.corpus import ingestion, manifest
from panoptic_assets.corpus.accounting import rows_of_kinds
from panoptic_assets.corpus.config import ImagesConfig
from panoptic_assets.corpus.contact_sheet import in_rows
from panoptic_assets.corpus.open_questions import note_question, open_questions
from panoptic_assets.corpus.properties import InventoryReport
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
    code_version="3",
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
    quarantined, or left out and why. The file of metadata, if the project names one, gives the
    images their properties.

    Where so much is gone at once that a person must be asked, nothing is done unless the
    configuration accepts that; of values of the file of metadata, all stay as they were.
    """
    try:
        plan = acts.plan(context, ingestion.prepare)
    except MissingError as error:
        store = acts.context_of(context).store
        note_question(store, "files", error.message)
        context.log_event(evaluation_of(images, nothing_missing(store)))
        raise
    return _corpus_result(ingestion.store(ingestion.run(plan)))


def nothing_missing(store: LanceStore) -> ContractVerdict:
    """Whether a refresh has asked nothing that nobody has answered yet.

    Args:
        store: Where questions are noted.
    """
    asked = open_questions(store)
    # Without an answer to the one about files, no image that is new comes in.
    stops = any(question.kind == "files" for question in asked)
    severity = dg.AssetCheckSeverity.ERROR if stops else dg.AssetCheckSeverity.WARN
    found = {"question": " ".join(question.text for question in asked) or "(none)"}
    return ContractVerdict(NOTHING_MISSING, not asked, found, severity)


def _corpus_result(ingested: ingestion.Ingested) -> dg.MaterializeResult[None]:
    plan, after, properties = ingested.plan, ingested.after, ingested.properties
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
            "nb_properties": properties.nb_properties,
            "nb_metadata_rows": properties.nb_rows,
            "nb_metadata_unmatched": properties.nb_unmatched,
            "nb_metadata_findings": properties.findings.total,
            "metadata_question": text_of(properties.kept) if properties.kept else "(none)",
            "corpus_version": version,
            "changes": dg.MetadataValue.md(_changes_table(changes)),
            "quarantine": dg.MetadataValue.md(table(["file", "reason"], quarantine, most=_LISTED)),
            "left_out": dg.MetadataValue.md(
                table(["why", "files", "folders", "kinds", "first"], rows_of_kinds(left_out))
            ),
            "metadata_findings": dg.MetadataValue.md(_findings_table(properties)),
            "contact_sheet": dg.MetadataValue.md(
                in_rows(read_thumbnails(plan.context.store, shown))
            ),
        },
        data_version=dg.DataVersion(digest(version, properties.digest)),
    )


def _findings_table(properties: InventoryReport) -> str:
    """Lines of the file of metadata that name no file, and cells that were left out."""
    found = [
        [entry.line, entry.column, entry.value, entry.cause] for entry in properties.findings.first
    ]
    found += [["", "", name, "no file of the corpus"] for name in properties.unmatched]
    return table(["line", "column", "value", "cause"], found, most=_LISTED)


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

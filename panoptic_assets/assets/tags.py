"""Tags: clusters that people keep.

Belongs here: ``saved_clustering``, which appends to the tag log, and ``tags``, its replay. Does not
belong here: what events mean (``core.tags``).
"""

import getpass

import dagster as dg

from panoptic_assets.assets.clusterings import clustering, nested_clustering
from panoptic_assets.assets.running import POOL, partition_of, plain_failures
from panoptic_assets.config import SaveConfig, given_config, parse, schema_of
from panoptic_assets.core import tags as core_tags
from panoptic_assets.keys import LINEAGE_ONLY, REMAINDER, RUNS, parse_run_key
from panoptic_assets.records import digest
from panoptic_assets.reports.markdown import table
from panoptic_assets.tables import Divisions, append_save, read_log, write_tags
from resources.errors import InputError
from resources.lance import LanceStore

_TAGS_SHOWN = 60


@dg.asset(
    partitions_def=RUNS,
    deps=[
        clustering,
        dg.AssetDep(nested_clustering, partition_mapping=LINEAGE_ONLY),
    ],
    config_schema=schema_of(SaveConfig),
    group_name="tags",
    pool=POOL,
    kinds={"lancedb"},
    code_version="1",
)
@plain_failures()
def saved_clustering(
    context: dg.AssetExecutionContext, store: LanceStore
) -> dg.MaterializeResult[None]:
    """A run's whole tree as hierarchical tags of a property, image by image.

    Saving appends one event to the tag log. A property that has other tags is refused, unless
    `replace` is set.
    """
    run_key = parse_run_key(partition_of(context))
    config = parse(SaveConfig, given_config(context.run.run_config, "saved_clustering"))
    divisions = Divisions(store, run_key)
    divisions.get(run_key)
    event = core_tags.save(
        config.property,
        run_key,
        divisions.nodes(run_key),
        {
            key: (record.record_id, record.output)
            for key, record in divisions.valid(run_key).items()
        },
        divisions.places(run_key),
        REMAINDER,
    )
    for key in sorted(divisions.stale):
        context.log.warning(f"{key} is stale and was left out: divide it again to save it.")
    while check_save(event, log := read_log(store), config.replace):
        if append_save(store, len(log) + 1, event, author_of(config), config.reason):
            break
    else:
        context.log.info(f"{run_key} is saved as {config.property!r} already.")
    return dg.MaterializeResult(
        metadata={
            "property": config.property,
            "nb_tags": len(event.tags),
            "nb_images": len(event.images),
            "left_out_as_stale": ", ".join(sorted(divisions.stale)) or "(none)",
            "tags": dg.MetadataValue.md(
                tag_table(core_tags.TagTables(list(event.tags), list(event.images)))
            ),
        },
        data_version=dg.DataVersion(digest([tag.tag_id for tag in event.tags], event.images)),
    )


@dg.asset(
    # All partitions: a save that is not in the tags yet does make them out of date.
    deps=[dg.AssetDep(saved_clustering, partition_mapping=dg.AllPartitionMapping())],
    group_name="tags",
    pool=POOL,
    kinds={"lancedb"},
    code_version="1",
)
@plain_failures()
def tags(context: dg.AssetExecutionContext, store: LanceStore) -> dg.MaterializeResult[None]:
    """Every property's tags, and which image carries which: the replay of the tag log."""
    log = read_log(store)
    replayed = core_tags.replay(log)
    if not write_tags(store, replayed):
        context.log.info("The tags already are what the log says.")
    return dg.MaterializeResult(
        metadata={
            "nb_events": len(log),
            "nb_properties": len({tag.property for tag in replayed.tags}),
            "nb_tags": len(replayed.tags),
            "nb_images": len({image_id for _, image_id in replayed.images}),
            "tags": dg.MetadataValue.md(tag_table(replayed)),
        },
        data_version=dg.DataVersion(digest([tag.tag_id for tag in replayed.tags], replayed.images)),
    )


def check_save(event: core_tags.Save, log: list[core_tags.Save], replace: bool) -> bool:
    """Whether a save must be appended: False if the property already is just that.

    Raises:
        InputError: The property has other tags and ``replace`` is not set.
    """
    latest = {earlier.property: earlier for earlier in log}
    current = latest.get(event.property)
    if current is None:
        return True
    if (current.tags, current.images) == (event.tags, event.images):
        return False
    if not replace:
        raise InputError(
            f"The property {event.property!r} already holds other tags, saved from run "
            f"{current.run_key!r}. Save under a new name, such as "
            f"{core_tags.free_name(event.property, latest)!r} (`property`, `--property`), or set "
            "`replace: true` (`--replace`)."
        )
    return True


def author_of(config: SaveConfig) -> str:
    """Who saves: as configured, else the user of the system."""
    if config.author:
        return config.author
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def tag_table(tables: core_tags.TagTables) -> str:
    """Markdown of tags with their number of images, the parents' including their children's."""
    counts = core_tags.counts(tables)
    names = core_tags.paths(tables.tags)
    return table(
        ["property", "tag", "images"],
        [[tag.property, names[tag.tag_id], counts[tag.tag_id]] for tag in tables.tags],
        _TAGS_SHOWN,
    )

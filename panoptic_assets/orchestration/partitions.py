"""The Dagster partitions that keys name.

Belongs here: which families of partitions there are, of what kind the keys of each are, and how
they depend on each other. Does not belong here: what a key may look like (``spec.keys``): Dagster
validates none.
"""

from collections.abc import Callable, Mapping

import dagster as dg

from panoptic_assets.spec.keys import parse_name, parse_node, parse_projection, parse_run_key

PROJECTIONS = dg.DynamicPartitionsDefinition(name="projections")
VECTOR_TYPES = dg.DynamicPartitionsDefinition(name="vector_types")
RUNS = dg.DynamicPartitionsDefinition(name="runs")
NODES = dg.DynamicPartitionsDefinition(name="nodes")

PARSERS: Mapping[str, Callable[[str], object]] = {
    str(PROJECTIONS.name): parse_projection,
    str(VECTOR_TYPES.name): lambda key: parse_name(key, "vector type"),
    str(RUNS.name): parse_run_key,
    str(NODES.name): parse_node,
}
"""By the name of each family what reads its keys, and raises InputError where a text is none."""

LINEAGE_ONLY = dg.SpecificPartitionsPartitionMapping([])
"""Shows a dependency in Dagster's lineage without saying on which partitions it is.

Which vector type a run reads is in its configuration, and which clustering lies above a node is in
its key: no mapping that Dagster's web server can load says that. The default, all partitions, would
call every run, node and save stale as soon as any other one is made.
"""

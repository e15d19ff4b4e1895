"""The Dagster partitions that keys name.

Belongs here: which families of partitions there are, and how they depend on each other. Does not
belong here: what a key may look like (``spec.keys``): Dagster validates none.
"""

import dagster as dg

PROJECTIONS = dg.DynamicPartitionsDefinition(name="projections")
VECTOR_TYPES = dg.DynamicPartitionsDefinition(name="vector_types")
RUNS = dg.DynamicPartitionsDefinition(name="runs")
NODES = dg.DynamicPartitionsDefinition(name="nodes")

LINEAGE_ONLY = dg.SpecificPartitionsPartitionMapping([])
"""Shows a dependency in Dagster's lineage without saying on which partitions it is.

Which vector type a run reads is in its configuration, and which clustering lies above a node is in
its key: no mapping that Dagster's web server can load says that. The default, all partitions, would
call every run, node and save stale as soon as any other one is made.
"""

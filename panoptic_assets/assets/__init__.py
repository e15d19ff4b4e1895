"""The assets: read from the store, one call into ``core``, write, say what came out.

Belongs here: Dagster's view of the data, and what an asset must refuse. Does not belong here: how
anything is computed (``core``), read or written (``tables``, ``resources``).
"""

"""Pure computation: numpy arrays and plain dataclasses in, the same out.

Belongs here: clustering methods, scores, the tree, the replay of the tag log. Does not belong
here: Dagster, LanceDB, torch, files. Input that cannot be computed raises ``NotComputableError``
with one plain line.
"""

"""All that the project knows of Dagster.

Belongs here: its instance, runs, partitions, event log and resources, as far as they are the same
whatever is computed. Does not belong here: what is computed.
"""

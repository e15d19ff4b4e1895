"""Clusters of images as Dagster data assets: a room for each capability.

Belongs here: the rooms, ``definitions``, which assembles them, and what runs them:
``project`` and ``cli``. Does not belong here: the outside world, which is ``resources``.
"""

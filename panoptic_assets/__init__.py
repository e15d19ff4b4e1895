"""Clusters of images as Dagster data assets.

Belongs here: the assets, what they compute (``core``), their words (``keys``, ``config``,
``records``), what knows Dagster (``orchestration``) and the doors (``definitions``, ``api``,
``cli``). Does not belong here: input and output, which is ``resources``.
"""

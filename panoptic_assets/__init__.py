"""Clusters of images as Dagster data assets.

Belongs here: the assets, what they compute (``core``), their words (``spec``, ``config``) and their
doors (``definitions``, ``api``, ``cli``). Does not belong here: input and output, which is
``resources``.
"""

"""The commands of ``panoptic-assets``, by what they are about.

Belongs here: one module for each group of commands, and what they share. Does not belong here: the
errors of all of them, and the list of them (``panoptic_assets.cli``).
"""

"""The outside world: image files, models, the LanceDB store, the project's folder.

Belongs here: whatever does input or output. Does not belong here: what the project makes of it
(``panoptic_assets``), which nothing in this package imports.
"""

ENVIRONMENT_VARIABLE = "PANOPTIC_PROJECT"
"""Names the project's folder. It and the next one stand here, and not where they are read, for the
command line: its ``--help`` needs no pydantic."""

URL_VARIABLE = "PANOPTIC_URL"
"""Says where browsers find the pages of a project."""

"""The outside world: image files, models, the LanceDB store, the project's folder.

Belongs here: whatever does input or output. Does not belong here: what the project makes of it
(``panoptic_assets``), which nothing in this package imports.
"""

ENVIRONMENT_VARIABLE = "PANOPTIC_PROJECT"
"""Names the project's folder. It stands here, and not in ``project_folder``, for the command line:
its ``--help`` needs no pydantic."""

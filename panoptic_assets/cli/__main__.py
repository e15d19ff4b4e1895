"""``python -m panoptic_assets.cli``: the command line."""

from panoptic_assets.cli.main import main

main()

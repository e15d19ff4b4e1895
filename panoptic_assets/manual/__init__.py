"""The manual: pages in Markdown, a folder for each language, and how they are found and shown.

Belongs here: the pages, which of them there are, and their text as HTML and for a terminal. Does
not belong here: serving them (``panoptic_assets.serve.manual``) and the command (``cli.manual``).
What tests run of the pages, and what makes the reference, is in ``tests/manual``.
"""

"""The tables of the store in the project's words.

Belongs here: what the assets and the API read and write in the same way. Does not belong here:
commits and schemas (``resources.lance``), or decisions (``assets``).
"""

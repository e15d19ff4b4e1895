"""Pages: the pictures of a file that holds several, and their names.

Belongs here: how a page is written in a path, and its id. Does not belong here: which pictures of a
file are pages (``picture_formats``).

Page n of ``booklet.tif`` is ``booklet.tif#page=2`` wherever a path is written, as in addresses of
PDF files (RFC 8118); page 1 is the file's own path. No file of a corpus has a name that ends so.
"""

import hashlib
import re

_PAGE = re.compile(r"#page=([1-9][0-9]{0,5})\Z")


def file_of(path: str) -> str:
    """The file's path in the path of one of its pages."""
    return path if "#" not in path else _PAGE.sub("", path)


def page_number(path: str) -> int:
    """The number of a page in its path; 1 where there is none."""
    found = _PAGE.search(path) if "#" in path else None
    return int(found[1]) if found else 1


def page_path(file: str, page: int) -> str:
    """The path of a page, from 1, of a file."""
    return file if page == 1 else f"{file}#page={page}"


def file_name(path: str) -> str:
    """A name, without folders, for a file of its own that shows what a path does.

    Of page 2 of ``booklet.tif`` it is ``booklet-page-2.tif``.
    """
    name, page = file_of(path).rpartition("/")[2], page_number(path)
    if page == 1:
        return name
    stem, dot, ending = name.rpartition(".")
    return f"{stem}-page-{page}{dot}{ending}" if stem else f"{name}-page-{page}"


def page_id(sha256: str, page: int) -> str:
    """The id of the image that a page shows.

    Args:
        sha256: Of the file's bytes, in hexadecimal: the id of page 1.
        page: From 1.
    """
    return sha256 if page == 1 else hashlib.sha256(f"{sha256}#{page}".encode()).hexdigest()

"""From the addresses of written reports to the live pages that show the same.

Belongs here: what a page of a report is about, by the name of its file. Does not belong here: those
names (``resources.report_folder``, ``review.comparison_pages``) and HTTP (``serve.webserver``).
"""

import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from panoptic_assets.spec.keys import parse_clustering, parse_node, parse_run_key
from resources.errors import InputError

if TYPE_CHECKING:
    from panoptic_assets.project import Project

_CLUSTER = re.compile(r"cluster\.([0-9a-z.]+?)(?:\.page-([0-9]{1,9}))?\.html")


def live_page(project: "Project", place: str) -> str | None:
    """The live page that shows what a page of a report would.

    Args:
        project: The project.
        place: Of the report's page, such as ``runs/greek/cluster.3.html``.

    Returns:
        Its address below the project's, empty for the first page where the store has nothing that
        the report could be about; None where no page of a report can be, but a picture or a script.
    """
    kind, _, rest = place.strip("/").partition("/")
    last = place.rpartition("/")[2]
    if kind in ("static", "thumbnails") or (not last.endswith(".html") and "." in last):
        return None
    if kind == "runs":
        key, _, page = rest.partition("/")
        return _page_of_run(project, key, page)
    if kind == "comparison":
        return _comparison(project, rest)
    return ""


def _page_of_run(project: "Project", key: str, page: str) -> str:
    if not _is_there(project, key):
        return ""
    if page in ("map.html", "record.html"):
        return f"map?{urlencode({'run': key})}" if page == "map.html" else f"records/{quote(key)}"
    if found := _CLUSTER.fullmatch(page):
        node = f"{key}/{found[1].replace('.', '/')}"
        with suppress(InputError):
            parsed = parse_node(node)
            if project.clusters(parsed.clustering)["cluster"].to_pylist().count(parsed.cluster):
                return f"clusters/{quote(node)}" + (f"?page={found[2]}" if found[2] else "")
    return f"runs/{quote(key)}"


def _comparison(project: "Project", page: str) -> str:
    """Of a pair, whose names may have the sign between them in themselves."""
    parts = page.removesuffix(".html").split("--")
    for middle in range(1, len(parts)):
        pair = ["--".join(parts[:middle]), "--".join(parts[middle:])]
        if all(name == "folders" or _is_there(project, name) for name in pair):
            return f"compare?{urlencode({'a': pair[0], 'b': pair[1]})}"
    return "compare"


def _is_there(project: "Project", key: str) -> bool:
    with suppress(InputError):
        parse_clustering(key)
        return any(run["key"] == key for run in project.runs(parse_run_key(key.split("/")[0])))
    return False

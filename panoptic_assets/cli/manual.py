"""``panoptic-assets manual``: the manual in a terminal.

Belongs here: which page or section is shown, and how wide. Does not belong here: the pages
(``panoptic_assets.manual``).
"""

import os
import shutil
import sys

import click

from panoptic_assets.cli.terminal import say, tell
from resources.errors import InputError

_WIDEST = 100
"""Columns: longer lines are hard to read."""


@click.command()
@click.argument("words", nargs=-1)
@click.option(
    "--language",
    type=click.Choice(["en", "fr"]),
    help="Of the pages; by default that of the terminal. What is not written in it is in English.",
)
@click.option("--markdown", is_flag=True, help="As it is written, and not for a terminal.")
def manual(words: tuple[str, ...], language: str | None, markdown: bool) -> None:
    """Show a page of the manual, or the places where WORDS are.

    WORDS are a page, such as `tags`, or a section of one, such as `tags#undo`; without any,
    the list of all pages is shown. Anything else is looked for in all pages.
    """
    from panoptic_assets.manual.contents import INDEX, find_page, pages, search_pages
    from panoptic_assets.manual.rendering import MOST_HITS
    from panoptic_assets.spec.text import nearest

    chosen = language or _language_of_terminal()
    asked = " ".join(words)
    name, _, anchor = asked.partition("#")
    page = find_page(name or INDEX, chosen)
    if page is not None:
        _show(page.section(anchor).text if anchor else page.text, page.language, markdown)
        return
    hits, has_all = search_pages(asked, chosen)
    if not hits:
        known = [page.short_name for page in pages(chosen)]
        raise InputError(
            "The manual has no page {words!r}, and no section with one of these words. The nearest "
            "pages: {near}; `panoptic-assets manual` lists all.",
            id="nothing-found-in-manual",
            words=asked[:100],
            near=", ".join(nearest(name[:100], known)),
        )
    if not has_all:
        tell("No section has all of these words. These have most of them:", "yellow")
    width = max(len(hit.address) for hit in hits[:MOST_HITS])
    for hit in hits[:MOST_HITS]:
        elsewhere = "" if hit.page.language == chosen else f" ({hit.page.language})"
        say(f"  {hit.address:<{width}}  {hit.section.title}{elsewhere}")
    if more := len(hits[MOST_HITS:]):
        say(f"  … and {more:,} more: add a word")
    tell(f"To read one: panoptic-assets manual {hits[0].address}")


def _show(text: str, language: str, markdown: bool) -> None:
    if markdown:
        click.echo(text.rstrip("\n"))
        return
    from panoptic_assets.manual.terminal import printed

    size = shutil.get_terminal_size()
    is_terminal = sys.stdout.isatty()
    colours = is_terminal and "NO_COLOR" not in os.environ
    lines = printed(text, language, min(size.columns, _WIDEST), colours)
    if is_terminal and lines.count("\n") >= size.lines:
        click.echo_via_pager(lines, color=colours)
    else:
        click.echo(lines)


def _language_of_terminal() -> str:
    """As POSIX has it: the first of these variables that is set decides."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "fr" if value.lower().startswith("fr") else "en"
    return "en"

"""``panoptic-assets manual``: the manual in a terminal.

Belongs here: which page or section is shown, and how wide. Does not belong here: the pages
(``panoptic_assets.manual``).
"""

import os
import shutil
import sys

import click

from panoptic_assets.cli.terminal import say
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

    WORDS are a page, such as `tags`, or a section of one, such as `scores#remainder`; without any,
    the list of all pages is shown. Anything else is looked for in all pages.
    """
    from panoptic_assets.manual.contents import INDEX, find_page, search_pages

    chosen = language or _language_of_terminal()
    name, _, anchor = " ".join(words).partition("#")
    page = find_page(name or INDEX, chosen)
    if page is not None:
        _show(page.section(anchor).text if anchor else page.text, page.language, markdown)
        return
    hits = search_pages(name, chosen)
    if not hits:
        raise InputError(
            "The manual has no page {words!r}, and no section with these words: "
            "`panoptic-assets manual` lists its pages.",
            id="nothing-found-in-manual",
            words=" ".join(words)[:100],
        )
    if len({hit.page for hit in hits}) == 1 and len(hits) == 1:
        _show(hits[0].section.text, hits[0].page.language, markdown)
        return
    width = max(len(hit.address) for hit in hits)
    for hit in hits:
        say(f"panoptic-assets manual {hit.address:<{width}}  {hit.section.title}")


def _show(text: str, language: str, markdown: bool) -> None:
    if markdown:
        click.echo(text.rstrip("\n"))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    from panoptic_assets.manual.rendering import to_terminal

    size = shutil.get_terminal_size()
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    console = Console(
        width=min(size.columns, _WIDEST), force_terminal=colours, no_color=not colours
    )
    shown = Markdown(to_terminal(text, language), hyperlinks=False, code_theme="bw")
    with console.capture() as captured:
        console.print(shown)
    lines = "\n".join(line.rstrip() for line in captured.get().split("\n"))
    if sys.stdout.isatty() and lines.count("\n") >= size.lines:
        click.echo_via_pager(lines, color=colours)
    else:
        click.echo(lines.rstrip("\n"))


def _language_of_terminal() -> str:
    """As POSIX has it: the first of these variables that is set decides."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "fr" if value.lower().startswith("fr") else "en"
    return "en"

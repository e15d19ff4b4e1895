"""The pages of the manual as a terminal shows them.

Belongs here: how Markdown becomes lines. Does not belong here: which text is shown, and where
(``cli.manual``).
"""

import textwrap

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Markdown, TableElement
from rich.table import Table
from rich.text import Text

from panoptic_assets.manual.rendering import to_terminal


class _Code(CodeBlock):
    """Code as it is written: a line that the terminal folds is copied whole, one that is cut in two
    here would become two commands."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = textwrap.indent(str(self.text).rstrip(), "    ")
        yield Text(code, "markdown.code_block", no_wrap=True, overflow="ignore")


class _TableOfNames(TableElement):
    """A table in whose first column, which has the names, nothing is cut or folded."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for place, column in enumerate(table.columns):
                    column.overflow, column.no_wrap = "fold", place == 0
            yield table


class _Page(Markdown):
    elements = Markdown.elements | {
        "fence": _Code,
        "code_block": _Code,
        "table_open": _TableOfNames,
    }


def printed(text: str, language: str, width: int, colours: bool) -> str:
    """Lines of a page's Markdown for a terminal.

    Args:
        text: The Markdown.
        language: Of the text.
        width: Columns to fill; code and names may be wider.
        colours: Whether to use the terminal's colours and styles.
    """
    console = Console(width=width, force_terminal=colours, no_color=not colours)
    with console.capture() as captured:
        console.print(_Page(to_terminal(text, language), hyperlinks=False), crop=False)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().split("\n"))

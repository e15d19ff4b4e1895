"""Markdown shows every name as it is."""

import json
import re

from panoptic_assets.spec.markdown import (
    bullets,
    code_apart,
    escaped,
    number_text,
    score_text,
    table,
)


def test_names_cannot_become_markup():
    """Safe by default: file names are hostile."""
    hostile = "<script>|`a`|[x](http://e)\n# **b**"
    assert "\n" not in escaped(hostile)
    assert escaped("<b>|") == "\\<b\\>\\|"
    assert escaped("été 図書館 🍌.jpg") == "été 図書館 🍌.jpg"


def test_a_table_has_a_line_for_each_row():
    assert table(["a", "b"], [[1, "x|y"]]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"
    assert table(["a"], []) == "(none)"


def test_a_table_that_is_cut_says_by_how_much():
    rows = [[number] for number in range(1500)]
    assert table(["a"], rows, 2) == "| a |\n| --- |\n| 0 |\n| 1 |\n\n… and 1,498 more"
    assert "more" not in table(["a"], rows[:2], 2)
    assert table(["a"], rows[:2], total=9).endswith("\n\n… and 7 more")


def test_counts_are_written_in_full():
    assert number_text(1_234_567) == "1,234,567"
    assert number_text(59.9464) == "59.95"


def test_the_score_of_a_single_image_says_so():
    """DESIGN 8: a cluster of one image has score 0 and says so."""
    assert score_text(0.0, 1) == "0.0 (one image)"
    assert score_text(12.34, 2) == "12.3"


def test_long_names_are_cut_and_tables_of_them_stay_small():
    """A materialization has 50 kB in the event log, which writes a Chinese letter in six bytes."""
    text = table(["a"], [["図" * 300]] * 40)
    assert len(json.dumps(text)) < 10_100
    shown = text.count("…|") + text.count("… |")
    assert f"… and {40 - shown} more" in text
    assert "図" * 200 not in text


def test_a_list_that_is_cut_says_by_how_much():
    assert bullets(["x", "y"]) == "- x\n- y"
    lines = bullets(["x" * 500] * 20).splitlines()
    assert lines[-1] == f"- … and {21 - len(lines)} more"


def test_what_is_between_backticks_is_code_in_a_list():
    assert bullets(["Write `nb_clusters: [2]`."]) == "- Write `nb_clusters: [2]`."
    assert bullets(["a*b `c*d` e*f"]) == "- a\\*b `c*d` e\\*f"
    assert bullets(["one ` alone"]) == "- one \\` alone"
    assert bullets(["two `` together"]) == "- two \\`\\` together"


def test_backticks_let_no_markup_out_of_a_list():
    """Safe by default: names in notes are hostile."""
    hostile = "`<img src=x>` <script> `[x](http://e)\n# **b**` [y](http://e) ```c```"
    shown = bullets([hostile])
    assert shown.count("\n") == 0
    outside = "".join(part for part, is_code in code_apart(shown.replace("\\`", "")) if not is_code)
    assert not re.search(r"(?<!\\)[<\[*!]", outside)

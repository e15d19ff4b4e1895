"""Markdown shows every name as it is."""

from panoptic_assets.reports.markdown import escaped, number_text, score_text, table


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


def test_counts_are_written_in_full():
    assert number_text(1_234_567) == "1,234,567"
    assert number_text(59.9464) == "59.95"


def test_the_score_of_a_single_image_says_so():
    """DESIGN 8: a cluster of one image has score 0 and says so."""
    assert score_text(0.0, 1) == "0.0 (one image)"
    assert score_text(12.34, 2) == "12.3"

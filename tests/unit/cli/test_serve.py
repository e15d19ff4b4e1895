"""Where `panoptic-assets ui` opens a browser."""

import pytest

from panoptic_assets.cli.serve import has_desktop


@pytest.mark.parametrize(
    ("environment", "platform"),
    [
        ({"DISPLAY": ":0"}, "linux"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux"),
        ({}, "darwin"),
    ],
)
def test_a_browser_is_opened_on_a_desktop(environment, platform):
    assert has_desktop(environment, platform)


@pytest.mark.parametrize(
    ("environment", "platform"),
    [
        ({}, "linux"),
        ({"DISPLAY": ""}, "linux"),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, "linux"),
        ({"SSH_TTY": "/dev/ttys1"}, "darwin"),
    ],
)
def test_no_browser_is_opened_where_nobody_would_see_it(environment, platform):
    """Over ssh, even with a display: it would open on the other machine, or come slowly."""
    assert not has_desktop(environment, platform)

"""The manual in the browser: which page, in which language, under which policy."""

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from panoptic_assets.manual.contents import pages
from panoptic_assets.serve.asking import preferred
from panoptic_assets.serve.manual import MOUNT, manual_routes
from panoptic_assets.serve.webserver import _MANUAL_HEADERS
from panoptic_assets.spec.languages import LANGUAGES


@pytest.fixture
def client():
    return TestClient(Starlette(routes=manual_routes(_MANUAL_HEADERS)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_served_with_its_title_and_no_script(client, language):
    for page in pages(language):
        answer = client.get(f"{MOUNT}/{language}/{page.name}")
        assert answer.status_code == 200
        assert "<h1" in answer.text
        assert "<script" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "script-src 'none'" in policy and "form-action 'self'" in policy


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("fr", "fr"),
        ("fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        ("en-GB,fr;q=0.5", "en"),
        ("de-DE,de;q=0.9,fr;q=0.3", "fr"),
        ("de", "en"),
        ("fr;q=0", "en"),
        ("fr;q=nonsense, en;q=0.1", "fr"),
        ("*;q=1,;;,,", "en"),
    ],
)
def test_the_browser_says_in_which_language(client, accepted, language):
    assert preferred(accepted) == language
    answer = client.get(f"{MOUNT}/", headers={"Accept-Language": accepted}, follow_redirects=False)
    assert answer.headers["location"] == f"{MOUNT}/{language}/index"
    assert answer.headers["vary"] == "Accept-Language, Cookie"


def test_a_search_leads_to_sections_and_shows_words_as_text(client):
    found = client.get(f"{MOUNT}/en/search", params={"q": "disk away"}).text
    assert f'href="{MOUNT}/en/how-to/growing-corpus#' in found
    hostile = client.get(f"{MOUNT}/fr/search", params={"q": '"><script>alert(1)</script>'})
    assert hostile.status_code == 200
    assert "<script>" not in hostile.text
    assert "Aucune section" in hostile.text
    assert client.get(f"{MOUNT}/en/search").status_code == 200
    assert client.get(f"{MOUNT}/en/search", params={"q": "x" * 10_000}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/en/nothing",
        "/de/index",
        "/en/../fr/index",
        "/en/%2e%2e/fr/index",
        "/en/how-to",
        "/static/../pages.py",
        "/static/%2e%2e%2fpages.py",
        "/pictures/shown.json",
        "/pictures/%2e%2e%2fpages.webp",
        "/pictures/none.webp",
        f"/pictures/{'a' * 300}.webp",
        "/de",
        "/de/",
        "/en/<script>",
    ],
)
def test_what_is_no_page_is_not_found(client, path):
    answer = client.get(f"{MOUNT}{path}")
    assert answer.status_code == 404 or answer.url.path == f"{MOUNT}/fr/index"
    assert "<script>" not in answer.text


@pytest.mark.parametrize("path", ["/en", "/en/"])
def test_a_language_alone_leads_to_its_pages(client, path):
    assert client.get(f"{MOUNT}{path}").url.path == f"{MOUNT}/en/index"


def test_an_endless_address_is_not_searched_for_as_a_whole(client):
    """Each word takes a look at every section, and meanwhile nobody else is answered."""
    found = client.get(f"{MOUNT}/en/" + "abc%20" * 2000)
    assert found.status_code == 404
    assert "abc " * 30 not in found.text


def test_pictures_and_styles_are_served_as_what_they_are(client):
    picture = client.get(f"{MOUNT}/pictures/tags.webp")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/webp")
    style = client.get(f"{MOUNT}/static/page.css")
    assert style.headers["content-type"].startswith("text/css")


def test_pages_can_only_be_read(client):
    assert client.post(f"{MOUNT}/en/index", json={}).status_code == 405

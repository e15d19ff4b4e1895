"""The pages of a project in French: nothing that they say is left in English."""

import gettext
import re

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from panoptic_assets.clustering.config import METHODS
from panoptic_assets.project import Project
from panoptic_assets.serve.live_pages import LIVE_PAGES, ProjectPages
from panoptic_assets.serve.page_address import PAGES
from panoptic_assets.spec.languages import language

pytestmark = pytest.mark.usefixtures("one_mini")


class Missed(gettext.NullTranslations):
    """Keeps what no catalogue has."""

    def __init__(self):
        super().__init__()
        self.texts = set()

    def gettext(self, message):
        self.texts.add(message)
        return message

    def ngettext(self, msgid1, msgid2, n):
        self.texts.add(msgid1)
        return super().ngettext(msgid1, msgid2, n)


@pytest.fixture
def missed():
    """What French has no word for; its catalogue is as it was afterwards."""
    catalogue = language("fr")._texts
    before, missed = catalogue._fallback, Missed()
    catalogue._fallback = missed
    yield missed
    catalogue._fallback = before


@pytest.fixture(scope="module")
def pages(told_folder):
    project = Project(told_folder)
    served = ProjectPages(told_folder, {})
    app = Starlette(routes=[Mount(PAGES, served)])
    client = TestClient(app, headers={"Accept-Language": "fr"}, raise_server_exceptions=False)
    [name] = {tag["tag_id"] for tag in project.tags() if tag["path"] == "Vases grecs"}
    image = project.exemplars("greek/1", number=1)["image_id"][0].as_py()
    filled = {"key": "greek", "node": "greek/0", "tag_id": name, "image_id": image}

    def page(path, **asked):
        address = re.sub(r"\{(\w+)\}", lambda found: filled[found[1]], path)
        return client.get(f"{PAGES.format(corpus=served.corpus)}/{address}", params=asked)

    return page


ASKED = [
    ("images", {"q": "a boat"}),
    ("images", {"status": "quarantined"}),
    ("compare", {"a": "greek", "b": "folders"}),
    ("new", {"node": "greek/0"}),
    ("map", {"run": "greek"}),
]
"""What some pages are asked beside, once more."""
PARAMETERS = {name.replace("_", " ") for method in METHODS for name in method.model_fields}
"""Those that are for experts are called in every language as configurations have them."""
PATHS = [page.path for page in LIVE_PAGES]


@pytest.mark.parametrize(
    ("path", "asked"),
    [*((path, {}) for path in PATHS), *ASKED, ("nowhere", {})],
    ids=lambda part: part or "home" if isinstance(part, str) else ", ".join(part) or "plain",
)
def test_every_text_of_a_page_is_french(pages, missed, path, asked):
    """Those too that are chosen while the page is made, which no search of the code finds."""
    answer = pages(path, **asked)
    assert answer.status_code == (404 if path == "nowhere" else 200), answer.text
    assert '<html lang="fr"' in answer.text
    assert answer.headers["content-language"] == "fr"
    assert missed.texts - PARAMETERS == set()

"""What is kept of servers' answers and packed archives loses an image."""

import hashlib
import io
import json

from PIL import Image

from resources.download_folder import remove_downloads
from resources.web_cache import WebCache


def picture(colour):
    file = io.BytesIO()
    Image.new("RGB", (9, 9), colour).save(file, "PNG")
    return file.getvalue()


def test_an_image_goes_with_the_documents_and_its_lines_and_other_pictures_stay(tmp_path):
    """Answers are had again, but a server is not asked for all pictures once more."""
    archives = tmp_path / "archives"
    archives.mkdir()
    (archives / "0a-0b.tar").write_bytes(picture("red"))
    cache = WebCache(tmp_path / "iiif" / "0123")
    for colour in ("red", "lime"):
        cache.put(f"picture {colour}", picture(colour), {"etag": "1"})
    cache.put("document", b'{"label": "red"}', {})
    (cache.folder / "index.json").write_text(json.dumps({"B/1.jpg": {"n": 1}, "B/2.jpg": {}}))
    (cache.folder / "inventory.csv").write_text('path,about\nB/1.jpg,"a\nb"\nB/2.jpg,é\n')
    (cache.folder / ".draft-1").write_bytes(b"half")
    gone = hashlib.sha256(picture("red")).hexdigest()
    for _ in range(2):  # as after a crash
        remove_downloads(tmp_path, gone.__eq__, {"B/1.jpg"})
        assert not archives.exists()
        assert cache.get("picture red") is cache.get("document") is None
        assert cache.get("picture lime").body == picture("lime")
        assert json.loads((cache.folder / "index.json").read_text()) == {"B/2.jpg": {}}
        table = (cache.folder / "inventory.csv").read_text(encoding="utf-8")
        assert table.splitlines() == ["path,about", "B/2.jpg,é"]
        assert len(list(cache.folder.iterdir())) == 3


def test_what_cannot_be_read_is_removed(tmp_path):
    folder = tmp_path / "iiif" / "0123"
    folder.mkdir(parents=True)
    for name, content in (
        ("index.json", b"["),
        ("inventory.csv", b"path\n\xff\n"),
        ("a.answer", b"cut"),
    ):
        (folder / name).write_bytes(content)
    remove_downloads(tmp_path, lambda _: False, {"B/1.jpg"})
    assert list(folder.iterdir()) == []


def test_a_project_without_downloads_has_none_to_remove(tmp_path):
    remove_downloads(tmp_path / "downloads", lambda _: True, {"a.jpg"})
    assert not (tmp_path / "downloads").exists()

"""Previews on the disk: bounded, the oldest go first, and those of an image can be removed."""

import os

from resources.preview_folder import PreviewFolder

ONE, OTHER, THIRD = ("a" * 64, "b" * 64, "c" * 64)


def webp(nb_bytes):
    """What has the length that its first bytes say."""
    return b"RIFF" + (nb_bytes - 8).to_bytes(4, "little") + b"x" * (nb_bytes - 8)


def aged(folder, image_id, seconds):
    """Let a preview have been looked at that long ago."""
    [path] = folder.glob(f"*/{image_id}-*")
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_what_was_not_looked_at_for_longest_makes_room(tmp_path):
    kept = PreviewFolder(tmp_path, 250)
    kept.put(ONE, 512, webp(100))
    kept.put(OTHER, 512, webp(100))
    aged(tmp_path, ONE, 100)
    aged(tmp_path, OTHER, 50)
    assert kept.get(ONE, 512)
    kept.put(THIRD, 512, webp(100))
    assert kept.get(OTHER, 512) is None
    assert kept.get(ONE, 512)
    assert kept.get(THIRD, 512)


def test_what_another_server_has_left_counts(tmp_path):
    PreviewFolder(tmp_path, 10**6).put(ONE, 512, webp(200))
    aged(tmp_path, ONE, 100)
    kept = PreviewFolder(tmp_path, 250)
    kept.put(OTHER, 512, webp(100))
    assert kept.get(ONE, 512) is None
    assert kept.get(OTHER, 512)


def test_a_part_of_a_preview_is_none(tmp_path):
    kept = PreviewFolder(tmp_path, 10**6)
    kept.put(ONE, 512, webp(100)[:50])
    assert kept.get(ONE, 512) is None


def test_all_sizes_of_an_image_go_and_no_other_image(tmp_path):
    kept = PreviewFolder(tmp_path, 10**6)
    for image_id, side in ((ONE, 512), (ONE, 2048), (OTHER, 512)):
        kept.put(image_id, side, webp(20))
    assert kept.remove([ONE, THIRD]) == 2
    assert kept.get(ONE, 2048) is None
    assert kept.get(OTHER, 512)

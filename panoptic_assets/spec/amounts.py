"""How many of something, as a message: a language's plural is a template of its own.

Belongs here: amounts that stand in other messages. Does not belong here: those in texts that
nobody translates (``spec.text.counted``), and in pages, which have plural forms.
"""

from resources.errors import Message, message


def images_in_words(count: int) -> Message:
    """``1 image``, ``2 images``."""
    if count == 1:
        return message("1 image", id="amount-one-image")
    return message("{count:,} images", id="amount-of-images", count=count)


def clusters_in_words(count: int) -> Message:
    """``1 cluster``, ``2 clusters``."""
    if count == 1:
        return message("1 cluster", id="amount-one-cluster")
    return message("{count:,} clusters", id="amount-of-clusters", count=count)


def tags_in_words(count: int) -> Message:
    """``1 tag``, ``2 tags``."""
    if count == 1:
        return message("1 tag", id="amount-one-tag")
    return message("{count:,} tags", id="amount-of-tags", count=count)


def labels_in_words(count: int) -> Message:
    """``1 label``, ``2 labels``."""
    if count == 1:
        return message("1 label", id="amount-one-label")
    return message("{count:,} labels", id="amount-of-labels", count=count)


def records_in_words(count: int) -> Message:
    """``1 record``, ``2 records``."""
    if count == 1:
        return message("1 record", id="amount-one-record")
    return message("{count:,} records", id="amount-of-records", count=count)

"""What YouTube says of a video, as what is kept with its job. `youtube` calls it with yt-dlp's record of the video;
`media_details` says what of a stranger's words is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.details import MediaDetails
from workers.inputs.media_details import Part, in_order, one_line, web_address


def details(info: dict[str, Any]) -> MediaDetails:
    """Title, channel, id, thumbnail and chapters, as far as the record has them."""
    return MediaDetails(
        title=one_line(info.get("title")),
        channel=one_line(info.get("channel") or info.get("uploader")),
        video_id=one_line(info.get("id")),
        thumbnail_url=web_address(info.get("thumbnail")),
        chapters=tuple(in_order(_parts(info.get("chapters")))),
    )


def _parts(value: object) -> Iterator[Part]:
    for entry in value if isinstance(value, list | tuple) else ():
        if isinstance(entry, dict):
            yield Part(entry.get("title"), entry.get("start_time"), entry.get("end_time"))

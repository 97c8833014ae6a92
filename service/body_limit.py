"""A bound on request bodies that are read whole: all but the uploads, which `service.upload` streams and limits."""

from __future__ import annotations

from collections.abc import Collection

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1024 * 1024
_TOO_LARGE = f"The body is larger than the {MAX_BODY_BYTES} bytes that this call accepts."


class BodyLimit:
    """ASGI middleware: reading more than `MAX_BODY_BYTES` of a body ends in 413, whatever length was announced."""

    def __init__(self, app: ASGIApp, *, streamed_paths: Collection[str]) -> None:
        self._app = app
        self._streamed_paths = frozenset(streamed_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._streamed_paths:
            await self._app(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, limited, send)

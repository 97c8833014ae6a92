"""What a request body must be before anything parses it: JSON, and short. Uploads are read by `service.upload` instead,
which takes forms alone, piece by piece, and has limits of its own.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1024 * 1024
_NOT_JSON = "Send the body as application/json."
_TOO_LARGE = f"The body is larger than the {MAX_BODY_BYTES} bytes that this call accepts."


class BodyLimit:
    """ASGI middleware: reading a body that is no JSON by its `Content-Type` ends in 415, and one of more than
    `MAX_BODY_BYTES` in 413, whatever length was announced.
    """

    def __init__(self, app: ASGIApp, *, streamed_paths: Collection[str]) -> None:
        self._app = app
        self._streamed_paths = frozenset(streamed_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._streamed_paths:
            await self._app(scope, receive, send)
            return
        received = 0
        is_json = Headers(scope=scope).get("content-type", "").split(";")[0].strip().lower() == "application/json"

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received and not is_json:
                raise HTTPException(415, _NOT_JSON)
            if received > MAX_BODY_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, limited, send)

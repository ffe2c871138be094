"""What every request passes through. Plain ASGI: BaseHTTPMiddleware costs several times as much."""

import logging
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.uuid7 import uuid7

logger = logging.getLogger("requests")

GIVEN_ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class RequestMiddleware:
    """Gives each request its id, each answer its headers, and the log one line."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begin = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if GIVEN_ID.fullmatch(given) else str(uuid7())
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(SECURITY_HEADERS | {"x-request-id": request_id})
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            route = scope.get("route")
            fields = {
                "event": "request",
                "request_id": request_id,
                "method": scope["method"],
                "route": route.path if route else "none",
                "status": status,
                "duration_ms": round((time.perf_counter() - begin) * 1000, 2),
                "user_id": state.get("user_id"),
                "address": scope["client"][0] if scope["client"] else None,
            }
            logger.info("request", extra={"fields": fields})

"""A position in a list, signed for one user and one list (its filter and sort)."""

import base64
import binascii
import hmac
import json
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.problems import Problem
from app.security import CURSOR_KEY, encode_base64url

MAC_LENGTH = 16


class Position(NamedTuple):
    created_at: datetime
    id: UUID


def mac(user_id: UUID, listing: str, position: bytes) -> bytes:
    return hmac.digest(CURSOR_KEY, f"{user_id}\0{listing}\0".encode() + position, "sha256")[:MAC_LENGTH]


def make_cursor(user_id: UUID, listing: str, position: Position) -> str:
    data = json.dumps([position.created_at.isoformat(), str(position.id)]).encode()
    return encode_base64url(mac(user_id, listing, data) + data)


def read_cursor(user_id: UUID, listing: str, cursor: str) -> Position:
    try:
        decoded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        raise Problem("invalid_cursor") from None
    signature, data = decoded[:MAC_LENGTH], decoded[MAC_LENGTH:]
    if not hmac.compare_digest(signature, mac(user_id, listing, data)):
        raise Problem("invalid_cursor")
    created_at, task_id = json.loads(data)
    return Position(datetime.fromisoformat(created_at), UUID(task_id))

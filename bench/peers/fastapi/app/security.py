"""Passwords and tokens. The keys are derived as the server under comparison derives them: each accepts the other's."""

import base64
import hashlib
import hmac
import os
import time
from typing import NamedTuple
from uuid import UUID

import jwt
from anyio import to_thread
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from app.config import settings
from app.problems import Problem
from app.uuid7 import uuid7


def derive(purpose: str, length: int) -> bytes:
    """HKDF-SHA-256 (RFC 5869) for at most 32 bytes."""
    secret = hmac.digest(bytes(32), settings.jwt_secret.encode(), "sha256")
    return hmac.digest(secret, f"tasks-api/{purpose}".encode() + b"\x01", "sha256")[:length]


KEY_ID = derive("key id", 8)
REFRESH_KEY = derive("refresh token", 32)
CURSOR_KEY = derive("cursor", 32)

ALGORITHM = "HS256"
TYPE = "at+jwt"

hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# compared with where there is no account, so that the time does not tell
DUMMY_HASH = hasher.hash(os.urandom(16).hex())


async def hash_password(password: str) -> str:
    return await to_thread.run_sync(hasher.hash, password)


async def verify_password(password: str, stored: str | None) -> bool:
    def verify() -> bool:
        try:
            return hasher.verify(stored or DUMMY_HASH, password)
        except VerificationError:
            return False

    return await to_thread.run_sync(verify) and stored is not None


class Claims(NamedTuple):
    user_id: UUID
    session_id: UUID


def verify_access_token(token: str) -> Claims:
    try:
        decoded = jwt.decode_complete(
            token,
            settings.jwt_secret,
            algorithms=[ALGORITHM],
            issuer=settings.jwt_issuer,
            audience=settings.jwt_issuer,
            leeway=5,
            options={"require": ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]},
        )
        if decoded["header"].get("typ") != TYPE:
            raise Problem("token_invalid")
        payload = decoded["payload"]
        return Claims(UUID(payload["sub"]), UUID(payload["sid"]))
    except jwt.ExpiredSignatureError:
        raise Problem("token_expired") from None
    except (jwt.InvalidTokenError, ValueError):
        raise Problem("token_invalid") from None


def make_access_token(claims: Claims) -> str:
    issued_at = int(time.time())
    payload = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_issuer,
        "sub": str(claims.user_id),
        "sid": str(claims.session_id),
        "jti": str(uuid7()),
        "iat": issued_at,
        "exp": issued_at + settings.access_token_seconds,
    }
    return jwt.encode(payload, settings.jwt_secret, ALGORITHM, headers={"typ": TYPE, "kid": KEY_ID.hex()})


def encode_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_refresh_token(claims: Claims, salt: bytes) -> str:
    """The first generation of a session."""
    named = claims.user_id.bytes + claims.session_id.bytes + bytes(4)
    mac = hmac.digest(REFRESH_KEY, b"rt1" + named + salt, hashlib.sha256)
    return encode_base64url(bytes([1, KEY_ID[0]]) + named + mac)

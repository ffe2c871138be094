import re
from collections.abc import AsyncGenerator
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request
from pydantic import AfterValidator
from sqlalchemy import func
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.db import session_maker
from app.models import Session
from app.problems import Problem, invalid
from app.security import verify_access_token


async def get_session() -> AsyncGenerator[AsyncSession]:
    async with session_maker() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


async def get_current_user(request: Request, session: SessionDep) -> UUID:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem("token_missing")
    claims = verify_access_token(token.strip())
    statement = select(Session.revoked_at.is_not(None), Session.expires_at <= func.now()).where(
        Session.user_id == claims.user_id, Session.id == claims.session_id
    )
    state = (await session.exec(statement)).first()
    if state is None:
        raise Problem("token_invalid")
    revoked, expired = state
    if revoked:
        raise Problem("session_revoked")
    if expired:
        raise Problem("session_expired")
    request.state.user_id = str(claims.user_id)
    return claims.user_id


CurrentUser = Annotated[UUID, Depends(get_current_user)]


def uuid7(value: UUID) -> UUID:
    if value.version != 7:
        raise ValueError("must be a UUIDv7")
    return value


TaskId = Annotated[UUID, AfterValidator(uuid7)]


def no_query(request: Request) -> None:
    for name in request.query_params:
        raise invalid(f"?{name}", "is not a known parameter", "unknown_parameter")


NoQuery = Depends(no_query)

ENTITY_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
ENTITY_TAGS = re.compile(rf"\s*(?:\*|{ENTITY_TAG}(?:\s*,\s*{ENTITY_TAG})*)\s*")


def entity_tags(header: str | None) -> str | None:
    if header is not None and not ENTITY_TAGS.fullmatch(header):
        raise ValueError("must be a list of entity tags, or *")
    return header


EntityTags = Annotated[str | None, Header(), AfterValidator(entity_tags)]

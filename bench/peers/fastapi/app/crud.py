"""Statements. Every one on tasks names their owner."""

import os
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, case, exists, func, insert, literal, or_, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.cursors import Position
from app.models import Session, Task, User, UserSequence
from app.problems import Problem
from app.schemas import PRIORITIES, Credentials, Registration, TaskCreate
from app.security import Claims, hash_password, verify_password
from app.uuid7 import uuid7

# accounts


def key(text: str) -> str:
    """The form in which e-mail addresses and usernames are unique."""
    return unicodedata.normalize("NFKC", text).lower()


async def register(session: AsyncSession, registration: Registration) -> User:
    user = User(
        **registration.model_dump(exclude={"password", "confirm_password"}),
        email_key=key(registration.email),
        username_key=key(registration.username) if registration.username else None,
        password_hash=await hash_password(registration.password),
    )
    session.add(user)
    try:
        await session.flush()
    except IntegrityError as error:
        raise Problem("username_taken" if "users_username_key" in str(error.orig) else "email_taken") from error
    session.add(UserSequence(user_id=user.id))
    return user


async def authenticate(session: AsyncSession, credentials: Credentials) -> User:
    name = key(credentials.name)
    user = (await session.exec(select(User).where(or_(User.email_key == name, User.username_key == name)))).first()
    if not await verify_password(credentials.password, user and user.password_hash) or user is None:
        raise Problem("invalid_credentials")
    return user


async def start_session(
    session: AsyncSession, user: User, address: str | None, user_agent: str | None
) -> tuple[Claims, bytes]:
    now = datetime.now(UTC)
    started = Session(
        user_id=user.id,
        salt=os.urandom(16),
        expires_at=now + timedelta(days=30),
        absolute_expires_at=now + timedelta(days=90),
        user_agent=user_agent,
        ip=address,
    )
    session.add(started)
    await session.commit()
    return Claims(started.user_id, started.id), started.salt


# tasks


def take_version(user_id: UUID, *conditions: ColumnElement[bool]) -> CTE:
    """The user's next version; the row's lock puts the user's writes in order."""
    return (
        update(UserSequence)
        .where(UserSequence.user_id == user_id, *conditions)
        .values(last_version=UserSequence.last_version + 1)
        .returning(UserSequence.last_version, func.clock_timestamp().label("written_at"))
        .cte("next")
    )


async def create_task(session: AsyncSession, user_id: UUID, task: TaskCreate) -> Task | None:
    following = take_version(user_id)
    written_at = following.c.written_at
    values: dict[Any, Any] = {
        Task.user_id: literal(user_id),
        Task.id: literal(uuid7()),
        Task.version: following.c.last_version,
        Task.title: literal(task.title),
        Task.description: literal(task.description, Task.description.type),
        Task.completed: literal(False),
        Task.priority: literal(PRIORITIES.index(task.priority), Task.priority.type),
        Task.tags: literal(task.tags, Task.tags.type),
        Task.created_at: written_at,
        Task.updated_at: written_at,
    }
    statement = (
        insert(Task)
        .from_select(list(values), select(*values.values()).select_from(following), include_defaults=False)
        .returning(Task)
    )
    created = (await session.scalars(statement)).first()
    await session.commit()
    return created


async def get_task(session: AsyncSession, user_id: UUID, task_id: UUID) -> Task | None:
    statement = select(Task).where(Task.user_id == user_id, Task.id == task_id, Task.deleted_at.is_(None))
    return (await session.exec(statement)).first()


async def list_tasks(
    session: AsyncSession,
    user_id: UUID,
    *,
    completed: bool | None,
    newest_first: bool,
    after: Position | None,
    limit: int,
) -> Sequence[Task]:
    statement = select(Task).where(Task.user_id == user_id, Task.deleted_at.is_(None))
    if completed is not None:
        statement = statement.where(Task.completed == completed)
    place = tuple_(Task.created_at, Task.id)
    if after is not None:
        statement = statement.where(place < after if newest_first else place > after)
    order = (Task.created_at, Task.id)
    statement = statement.order_by(*(column.desc() if newest_first else column.asc() for column in order))
    return (await session.exec(statement.limit(limit))).all()


async def update_task(
    session: AsyncSession, user_id: UUID, task_id: UUID, changes: dict[str, Any], versions: list[int] | None
) -> Task | None:
    """None where there is no such task at one of the versions."""
    target = [Task.user_id == user_id, Task.id == task_id, Task.deleted_at.is_(None)]
    if versions is not None:
        target.append(Task.version.in_(versions))
    following = take_version(user_id, exists().where(*target))
    values = {**changes, "version": following.c.last_version, "updated_at": following.c.written_at}
    if "completed" in changes:
        values["completed_at"] = case((literal(changes["completed"]), func.coalesce(Task.completed_at, following.c.written_at)))
    statement = (
        update(Task)
        .where(*target, following.c.last_version.is_not(None))
        .values(values)
        .returning(Task)
        .execution_options(synchronize_session=False)
    )
    updated = (await session.scalars(statement)).first()
    await session.commit()
    return updated

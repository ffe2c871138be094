"""The tables that the endpoints need; their migrations are those of the server under comparison."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, SmallInteger, Text
from sqlmodel import Field, SQLModel

from app.uuid7 import uuid7

def timestamp(**options: Any) -> Any:
    return Field(sa_type=DateTime(timezone=True), **options)  # type: ignore[call-overload]


class User(SQLModel, table=True):
    __tablename__ = "users"

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    email: str | None = None
    email_key: str | None = None
    username: str | None = None
    username_key: str | None = None
    name: str | None = None
    password_hash: str | None = None
    time_zone: str = "UTC"
    created_at: datetime = timestamp(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = timestamp(default_factory=lambda: datetime.now(UTC))


class UserSequence(SQLModel, table=True):
    __tablename__ = "user_sequences"

    user_id: UUID = Field(primary_key=True, foreign_key="users.id")
    last_version: int = Field(default=0, sa_type=BigInteger)


class Session(SQLModel, table=True):
    __tablename__ = "sessions"

    user_id: UUID = Field(primary_key=True, foreign_key="users.id")
    id: UUID = Field(default_factory=uuid7, primary_key=True)
    salt: bytes
    revoked_at: datetime | None = timestamp(default=None)
    expires_at: datetime = timestamp()
    absolute_expires_at: datetime = timestamp()
    user_agent: str | None = None
    ip: str | None = None


class Task(SQLModel, table=True):
    __tablename__ = "tasks"

    user_id: UUID = Field(primary_key=True, foreign_key="users.id")
    id: UUID = Field(default_factory=uuid7, primary_key=True)
    version: int = Field(sa_type=BigInteger)
    title: str
    description: str | None = None
    completed: bool = False
    completed_at: datetime | None = timestamp(default=None)
    priority: int = Field(default=0, sa_type=SmallInteger)
    tags: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))  # type: ignore[call-overload]
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()
    deleted_at: datetime | None = timestamp(default=None)

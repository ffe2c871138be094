"""What is sent and answered."""

import unicodedata
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    PlainSerializer,
    StrictBool,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

def storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return unicodedata.normalize("NFC", text)


time_zones = cache(available_timezones)


def known_time_zone(name: str) -> str:
    if name not in time_zones():
        raise ValueError("must be a time zone of the IANA database")
    return name


def distinct(tags: list[str]) -> list[str]:
    if len({tag.lower() for tag in tags}) < len(tags):
        raise ValueError("must differ in more than case")
    return tags


def trimmed(maximum: int) -> Any:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=maximum)


Storable = AfterValidator(storable)
Title = Annotated[str, trimmed(200), Storable]
Description = Annotated[str, StringConstraints(max_length=1_000), Storable]
Tag = Annotated[str, trimmed(50), Storable]
Tags = Annotated[list[Tag], Field(max_length=20), AfterValidator(distinct)]
Priority = Literal["none", "low", "medium", "high", "urgent"]
PRIORITIES: list[Priority] = ["none", "low", "medium", "high", "urgent"]


class Closed(BaseModel):
    """Refuses members that it does not know."""

    model_config = ConfigDict(extra="forbid")


class TaskCreate(Closed):
    title: Title
    description: Description | None = None
    priority: Priority = "none"
    tags: Tags = []


class TaskPatch(Closed):
    """A merge patch (RFC 7396): `null` returns a member to its default."""

    title: Title = ""
    description: Description | None = None
    completed: StrictBool | None = None
    priority: Priority | None = None
    tags: Tags | None = None


class Completion(Closed):
    completed: StrictBool = True


class ListQuery(Closed):
    completed: Literal["true", "false"] | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"
    limit: int = Field(default=50, ge=1, le=100)
    cursor: str | None = None


Password = Annotated[str, StringConstraints(min_length=1, max_length=256), Storable]
NewPassword = Annotated[str, StringConstraints(min_length=8, max_length=256), Storable]
LoginName = Annotated[str, StringConstraints(min_length=1, max_length=254), Storable]


class Registration(Closed):
    email: Annotated[EmailStr, StringConstraints(max_length=254)]
    password: NewPassword
    confirm_password: Password | None = None
    username: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{3,30}$")] | None = None
    name: Annotated[str, StringConstraints(min_length=1, max_length=100), Storable] | None = None
    time_zone: Annotated[str, AfterValidator(known_time_zone)] = "UTC"

    @field_validator("confirm_password")
    @classmethod
    def must_equal_password(cls, value: str | None, info: ValidationInfo) -> str | None:
        # a password that is wrong itself is not among the data
        if value is not None and value != info.data.get("password", value):
            raise ValueError("must equal password")
        return value


class Credentials(Closed):
    password: Password
    email: LoginName | None = None
    username: LoginName | None = None
    username_or_email: LoginName | None = None

    @model_validator(mode="after")
    def one_name(self) -> "Credentials":
        if len(self.model_fields_set) != 2:
            raise ValueError("needs exactly one of email, username and username_or_email")
        return self

    @property
    def name(self) -> str:
        return self.email or self.username or self.username_or_email or ""


def instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, PlainSerializer(instant, return_type=str)]
PriorityName = Annotated[Priority, BeforeValidator(PRIORITIES.__getitem__)]


class Public(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class TaskPublic(Public):
    id: UUID
    user_id: UUID
    title: str
    description: str | None
    completed: bool
    completed_at: Instant | None
    priority: PriorityName
    tags: list[str]
    version: int
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | None


class UserPublic(Public):
    id: UUID
    email: str | None
    username: str | None
    name: str | None
    time_zone: str
    created_at: Instant
    updated_at: Instant


class Login(BaseModel):
    user: UserPublic
    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int


class Registered(Login):
    message: Literal["User created successfully"] = "User created successfully"

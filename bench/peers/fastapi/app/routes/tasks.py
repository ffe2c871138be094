import json
import re
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from app import crud
from app.cursors import Position, make_cursor, read_cursor
from app.deps import CurrentUser, EntityTags, NoQuery, SessionDep, TaskId
from app.models import Task
from app.problems import Problem
from app.schemas import PRIORITIES, Completion, ListQuery, TaskCreate, TaskPatch, TaskPublic

router = APIRouter(prefix="/api/v1/tasks", tags=["tasks"])

DEFAULTS: dict[str, Any] = {"description": None, "completed": False, "priority": "none", "tags": []}


def etag(task: Task) -> str:
    return f'"{task.version}"'


def versions_of(if_match: str | None) -> list[int] | None:
    """The versions that If-Match names; None for any. Weak tags never match there."""
    if if_match is None or if_match.strip() == "*":
        return None
    return [int(version) for version in re.findall(r'(?<!W/)"([1-9]\d{0,14})"', if_match)]


def matches(if_none_match: str, task: Task) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return tags == ["*"] or etag(task) in tags


@router.get("", response_model=list[TaskPublic])
async def list_tasks(user_id: CurrentUser, session: SessionDep, query: Annotated[ListQuery, Query()], response: Response):
    newest_first = query.sort != "created_at"
    listing = json.dumps([newest_first, query.completed])
    page = await crud.list_tasks(
        session,
        user_id,
        completed=None if query.completed is None else query.completed == "true",
        newest_first=newest_first,
        after=None if query.cursor is None else read_cursor(user_id, listing, query.cursor),
        # one more than asked tells whether another page follows
        limit=query.limit + 1,
    )
    if len(page) > query.limit:
        page = page[: query.limit]
        cursor = make_cursor(user_id, listing, Position(page[-1].created_at, page[-1].id))
        parameters = query.model_dump(exclude_unset=True) | {"cursor": cursor}
        response.headers["link"] = f'</api/v1/tasks?{urlencode(parameters)}>; rel="next"'
    return page


@router.post("", response_model=TaskPublic, status_code=status.HTTP_201_CREATED, dependencies=[NoQuery])
async def create_task(user_id: CurrentUser, session: SessionDep, task: TaskCreate, response: Response):
    created = await crud.create_task(session, user_id, task)
    if created is None:
        # without a sequence there is no user: deleted since the token was checked
        raise Problem("token_invalid")
    response.headers["location"] = f"/api/v1/tasks/{created.id}"
    response.headers["etag"] = etag(created)
    return created


@router.get("/{id}", response_model=TaskPublic, dependencies=[NoQuery])
async def get_task(
    user_id: CurrentUser, session: SessionDep, id: TaskId, response: Response, if_none_match: EntityTags = None
):
    task = await crud.get_task(session, user_id, id)
    if task is None:
        raise Problem("not_found")
    headers = {"etag": etag(task)}
    if if_none_match is not None and matches(if_none_match, task):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    response.headers.update(headers)
    return task


async def update(
    session: SessionDep, user_id: UUID, id: UUID, changes: dict[str, Any], if_match: str | None, response: Response
) -> Task:
    versions = versions_of(if_match)
    updated = await crud.update_task(session, user_id, id, changes, versions)
    if updated is None:
        current = None if versions is None else await crud.get_task(session, user_id, id)
        if current is None:
            raise Problem("not_found")
        raise Problem("stale_version", current=TaskPublic.model_validate(current).model_dump(mode="json"))
    response.headers["etag"] = etag(updated)
    return updated


@router.patch("/{id}", response_model=TaskPublic, dependencies=[NoQuery])
async def patch_task(
    user_id: CurrentUser,
    session: SessionDep,
    id: TaskId,
    patch: TaskPatch,
    response: Response,
    if_match: EntityTags = None,
):
    members = patch.model_dump(exclude_unset=True)
    changes = {name: DEFAULTS[name] if value is None else value for name, value in members.items()}
    if "priority" in changes:
        changes["priority"] = PRIORITIES.index(changes["priority"])
    return await update(session, user_id, id, changes, if_match, response)


@router.patch("/{id}/complete", response_model=TaskPublic, dependencies=[NoQuery])
async def complete_task(
    user_id: CurrentUser,
    session: SessionDep,
    id: TaskId,
    response: Response,
    completion: Completion | None = None,
    if_match: EntityTags = None,
):
    changes = (completion or Completion()).model_dump()
    return await update(session, user_id, id, changes, if_match, response)

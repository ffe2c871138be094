"""Failures as RFC 9457 problems."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

logger = logging.getLogger(__name__)

CATALOG = {
    "malformed_body": (
        400,
        "The body can't be read",
        "The request's body is empty where one is required, is not valid JSON (RFC 8259), or is not valid UTF-8.",
    ),
    "malformed_header": (
        400,
        "A header can't be read",
        "A header of the request does not have the form that its specification gives.",
    ),
    "invalid_cursor": (
        400,
        "The cursor is not valid here",
        "The cursor was cut or changed, belongs to another user, or was made for another filter or sort.",
    ),
    "token_missing": (
        401,
        "Authentication is required",
        "The request carries no bearer token, or more than one Authorization header.",
    ),
    "token_invalid": (
        401,
        "The access token is not valid",
        "The token was not issued by this server for this API, was changed, or its user no longer exists.",
    ),
    "token_expired": (401, "The access token has expired", "The token was valid until its `exp`."),
    "session_revoked": (
        401,
        "The session was ended",
        "The session was ended by a logout, a password change, its owner, or a newer login.",
    ),
    "session_expired": (
        401,
        "The session has expired",
        "The session was not refreshed in time, or has reached its absolute end.",
    ),
    "invalid_credentials": (
        401,
        "The credentials are not valid",
        "There is no such account, or the password is another.",
    ),
    "not_found": (404, "Not found", "There is nothing at this path, or nothing that is yours."),
    "email_taken": (409, "The e-mail address is taken", "An account with this address exists."),
    "username_taken": (409, "The username is taken", "An account with this username exists."),
    "stale_version": (
        412,
        "The task has changed",
        "The task is no longer at the version that If-Match names. The current task is the member `current`.",
    ),
    "validation_failed": (
        422,
        "The request is not valid",
        "The request could be read, but some of its values are not allowed. `errors` has one entry for each.",
    ),
    "internal": (
        500,
        "Something went wrong here",
        "The server failed in a way that it did not foresee. The log has the cause under the request's id.",
    ),
}


class Problem(Exception):
    def __init__(self, code: str, **members: Any) -> None:
        super().__init__(code)
        self.code = code
        self.members = members


def invalid(pointer: str, detail: str, code: str = "invalid_value") -> Problem:
    return Problem("validation_failed", errors=[{"pointer": pointer, "code": code, "detail": detail}])


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


def respond(request: Request, problem: Problem) -> ProblemResponse:
    status, title, detail = CATALOG[problem.code]
    headers = {}
    if status == 401:
        sent = problem.code not in ("token_missing", "invalid_credentials")
        headers["www-authenticate"] = 'Bearer realm="tasks-api"' + (', error="invalid_token"' if sent else "")
    body = {
        "type": f"/problems/{problem.code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": problem.code,
        "request_id": request.state.request_id,
    }
    return ProblemResponse(body | problem.members, status, headers)


CODES = {"missing": "required", "extra_forbidden": "unknown_member", "literal_error": "invalid_type"}


def pointer(location: tuple[Any, ...]) -> str:
    where, *path = location
    match where:
        case "query":
            return f"?{path[0]}"
        case "path":
            return f"{{{path[0]}}}"
        case _:
            return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def fault(error: dict[str, Any]) -> dict[str, str]:
    kind: str = error["type"]
    code = "invalid_type" if kind.endswith("_type") else CODES.get(kind, "invalid_value")
    if kind == "extra_forbidden" and error["loc"][0] == "query":
        code = "unknown_parameter"
    if kind == "string_too_short" and error["loc"] == ("body", "password") and error["ctx"]["min_length"] > 1:
        code = "password_too_short"
    return {"pointer": pointer(error["loc"]), "code": code, "detail": error["msg"]}


def from_validation(errors: list[dict[str, Any]]) -> Problem:
    kinds = {error["type"] for error in errors}
    if "json_invalid" in kinds:
        return Problem("malformed_body", detail="The body is not valid JSON.")
    if any(error["loc"] == ("body",) and error["type"] == "missing" for error in errors):
        return Problem("malformed_body", detail="A body is required.")
    if any(error["loc"][0] == "header" for error in errors):
        return Problem("malformed_header")
    # one fault for each value
    faults = {entry["pointer"]: entry for entry in map(fault, reversed(errors))}
    return Problem("validation_failed", errors=list(reversed(faults.values())))


def add_exception_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def handle_problem(request: Request, error: Problem) -> ProblemResponse:
        return respond(request, error)

    @app.exception_handler(RequestValidationError)
    async def handle_validation(request: Request, error: RequestValidationError) -> ProblemResponse:
        return respond(request, from_validation(list(error.errors())))

    @app.exception_handler(HTTPException)
    async def handle_http(request: Request, error: HTTPException) -> ProblemResponse:
        code = "not_found" if error.status_code in (404, 405) else "malformed_body"
        return respond(request, Problem(code))

    @app.exception_handler(Exception)
    async def handle_defect(request: Request, error: Exception) -> ProblemResponse:
        logger.error("defect", exc_info=error, extra={"fields": {"request_id": request.state.request_id}})
        return respond(request, Problem("internal"))

"""What Schemathesis has to know beside the OpenAPI document."""

import os
import re
import secrets

import requests
import schemathesis
from schemathesis.specs.openapi.checks import RejectedPositiveData, positive_data_acceptance

origin = os.environ["API_ORIGIN"]

# what ends a session, or wants the account's own password: with an account of its own for each request
ENDING = re.compile(r"((POST|DELETE) .*/auth/(logout|password|me)|DELETE .*/auth/sessions/\{id\})")

# the password of the document's examples: so that they do what they say
PASSWORD = "correct horse battery staple"

# Refusals of requests that match the document, because no schema can say what they are refused for.
EXPLAINED = {
    "invalid_cursor": "cursors are opaque, and signed",
    "idempotency_key_reused": "which keys were used is nothing of one request",
    "wrong_password": "so is the account's password",
    "password_compromised": "a list of passwords, and the account's own names",
    "invalid_grant": "as wrong_password and 401, in the words of OAuth 2",
    "stale_version": "the version of a task is nothing of one request",
}
# Members of a request that is refused with validation_failed for the same reason.
EXPLAINED_MEMBERS = {
    r"/time_zone$": "the names of the IANA database",
    r"/recurrence/rule$": "the grammar of RFC 5545, and rules that never occur",
    r"^/confirm_password$": "equality with another member",
    r"^\?to$": "an order of two parameters",
    r"^\?(priority|sort)$": "that none of the list comes twice",
    r"^(/operations/\d+/task)?/(due/date|recurrence|reminders)": "what a patch leaves out is looked up in the task",
}


# Only users of other issuers have no password, so the document can't require it.
ACCOUNT_DELETION = re.compile(r"DELETE /api/(v1/)?auth/me")


def is_explained(case, problem: dict) -> bool:
    # Schemathesis' coverage phase takes this for an entity tag, whatever the document says
    if problem.get("code") == "malformed_header":
        return "0" in (case.headers.get("if-match"), case.headers.get("if-none-match"))
    if ACCOUNT_DELETION.fullmatch(case.operation.label):
        missing = [fault["pointer"] for fault in problem.get("errors", []) if fault["code"] == "required"]
        if problem["detail"] == "A body is required." or missing == ["/password"]:
            return True
    if problem.get("code") == "validation_failed":
        return all(any(re.search(member, fault["pointer"]) for member in EXPLAINED_MEMBERS) for fault in problem["errors"])
    return problem.get("code", problem.get("error")) in EXPLAINED


@schemathesis.check
def valid_data_acceptance(ctx, response, case):
    """Schemathesis' own check, with the exceptions above."""
    try:
        return positive_data_acceptance(ctx, response, case)
    except RejectedPositiveData:
        if not is_explained(case, response.json()):
            raise


def register() -> str:
    account = {"email": f"{secrets.token_hex(12)}@example.com", "password": PASSWORD}
    answer = requests.post(f"{origin}/api/v1/auth/register", json=account, timeout=30)
    answer.raise_for_status()
    return answer.json()["access_token"]


@schemathesis.auth(refresh_interval=None)
class Bearer:
    def get(self, case, ctx):
        return register() if ENDING.fullmatch(case.operation.label) else os.environ["TOKEN"]

    def set(self, case, data, ctx):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def filter_case(ctx, case):
    """A stream has no end: only what it refuses can be waited for. test/changes/Stream.test.ts follows it."""
    return not case.path.endswith("/stream") or case.meta is None or case.meta.generation.mode.is_negative

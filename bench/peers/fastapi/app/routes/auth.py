from fastapi import APIRouter, Request, status

from app import crud
from app.config import settings
from app.deps import NoQuery, SessionDep
from app.models import User
from app.schemas import Credentials, Login, Registered, Registration, UserPublic
from app.security import make_access_token, make_refresh_token

router = APIRouter(prefix="/api/v1/auth", tags=["auth"], dependencies=[NoQuery])


async def log_in(request: Request, session: SessionDep, user: User) -> dict[str, object]:
    address = request.client.host if request.client else None
    claims, salt = await crud.start_session(session, user, address, request.headers.get("user-agent"))
    return {
        "user": UserPublic.model_validate(user),
        "access_token": make_access_token(claims),
        "refresh_token": make_refresh_token(claims, salt),
        "expires_in": settings.access_token_seconds,
    }


@router.post("/register", status_code=status.HTTP_201_CREATED)
async def register(request: Request, session: SessionDep, registration: Registration) -> Registered:
    user = await crud.register(session, registration)
    return Registered.model_validate(await log_in(request, session, user))


@router.post("/login")
async def login(request: Request, session: SessionDep, credentials: Credentials) -> Login:
    user = await crud.authenticate(session, credentials)
    return Login.model_validate(await log_in(request, session, user))

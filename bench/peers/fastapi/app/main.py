from fastapi import FastAPI
from sqlalchemy import text

from app.deps import SessionDep
from app.logs import configure_logging
from app.middleware import RequestMiddleware
from app.problems import add_exception_handlers
from app.routes import auth, tasks

configure_logging()

api = FastAPI(title="tasks-api on FastAPI")
add_exception_handlers(api)
api.include_router(auth.router)
api.include_router(tasks.router)


@api.get("/health/ready")
async def ready(session: SessionDep) -> dict[str, str]:
    await session.exec(text("select 1"))
    return {"status": "ok"}


# outside of everything, so that an unforeseen failure has its id and its line too
app = RequestMiddleware(api)

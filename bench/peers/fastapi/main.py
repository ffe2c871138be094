"""Serves on HOST and PORT: .venv/bin/python main.py"""

import uvicorn

from app.config import settings

if __name__ == "__main__":
    uvicorn.run(
        "app.main:app",
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        # one structured line a request is written by the app
        access_log=False,
        log_config=None,
    )

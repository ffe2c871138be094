from pydantic import PostgresDsn, computed_field
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    host: str = "127.0.0.1"
    port: int = 3000
    log_level: str = "info"
    database_url: PostgresDsn
    database_pool_size: int = 10
    jwt_secret: str
    jwt_issuer: str = "tasks-api"
    access_token_seconds: int = 24 * 60 * 60

    @computed_field
    @property
    def sqlalchemy_url(self) -> str:
        return str(self.database_url).replace("postgres://", "postgresql://").replace(
            "postgresql://", "postgresql+asyncpg://"
        )


settings = Settings()

from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from app.config import settings

# prepared statements are cached by the driver, compiled ones by SQLAlchemy
engine = create_async_engine(settings.sqlalchemy_url, pool_size=settings.database_pool_size, max_overflow=0)

session_maker = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)

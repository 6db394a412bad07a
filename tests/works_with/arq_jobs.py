from typing import Any

from arq.connections import RedisSettings

from tests.works_with import jobs


async def write(context: Any, path: str) -> None:
    jobs.write(path)


class Settings:
    functions = (write,)
    redis_settings = RedisSettings.from_dsn(jobs.REDIS)

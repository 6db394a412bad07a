from huey import RedisHuey

from tests.works_with import jobs

huey = RedisHuey(url=jobs.REDIS)
write = huey.task()(jobs.write)

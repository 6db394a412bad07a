import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.works_with import jobs

dramatiq.set_broker(RedisBroker(url=jobs.REDIS))
write = dramatiq.actor(jobs.write)

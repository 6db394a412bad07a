from taskiq_redis import ListQueueBroker

from tests.works_with import jobs

broker = ListQueueBroker(jobs.REDIS)
write = broker.task(jobs.write)

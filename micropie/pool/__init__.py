"""Handlers in other processes: the call, the processes of this machine, and executors that an author brings."""

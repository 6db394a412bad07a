"""What micropie costs, beside its peers: `overhead` (in process) and `throughput` (behind uvicorn and granian)."""

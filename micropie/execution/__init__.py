"""How and where a call runs: steps, the current context, threads, event loops. Knows no HTTP."""

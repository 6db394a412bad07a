"""What micropie costs, beside its peers: `overhead` (in process) and `behind` (servers)."""

"""Programs as their authors write them: ``micropie check`` must find nothing in any of them."""

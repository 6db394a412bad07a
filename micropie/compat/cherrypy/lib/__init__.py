"""CherryPy's library: what its tools are made of, for applications that call it themselves."""

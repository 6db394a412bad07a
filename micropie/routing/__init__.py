"""Compile an application's classes to routes, and find the route and the arguments of each request."""

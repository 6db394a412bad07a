"""From an application's classes to routes, and from a request's path to a route and its arguments."""

"""Accounts: log-in and log-out, and the checks and providers that the other parts import."""

from typing import Annotated

from examples.tracker.database import Db, User
from micropie import App, BindingErrors, Redirect, Request, flash, get, post
from micropie.middleware import RateLimit


def current_user(request: Request, db: Db) -> User:
    """Return the user who is logged in. If nobody is, redirect to the log-in, which redirects
    back.
    """
    user = db.find(User, request.session.get("user", ""))
    if user is None:
        raise Redirect(request.url_for("/account.login", back=request.root_path + request.path))
    return user


CurrentUser = Annotated[User, current_user]


def logged_in(request: Request) -> bool:
    """Check the session only. This is for streams, which may last for hours: a check that takes the
    database would keep its connection open for as long.
    """
    return "user" in request.session


def members(request: Request, user: CurrentUser) -> bool:
    return user.name != ""


def admins(request: Request, user: CurrentUser) -> bool:
    return user.is_admin


class Account(App):
    @get
    def login(self, errors: BindingErrors, back: str = "") -> str:
        return self.render("login.html", back=back, errors=errors)

    @RateLimit(10, per=60)
    @post("/login")
    def log_in(
        self, db: Db, errors: BindingErrors, name: str, password: str, back: str = ""
    ) -> object:
        if not errors and not db.is_password(name, password):
            errors.add("name", "Name or password is wrong.")
        if errors:
            return 422, self.render("login.html", back=back, errors=errors)
        # If an attacker has set the session's cookie in this browser, its id is useless now.
        self.request.session.regenerate()
        self.request.session["user"] = name
        flash(f"Welcome, {name}!")
        return Redirect(back or self.url_for("/index"))

    @post
    def logout(self) -> Redirect:
        self.request.session.clear()
        return Redirect(self.url_for("login"))

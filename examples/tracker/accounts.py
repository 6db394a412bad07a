"""Who visits: log in, log out, and the checks and providers that the other parts take from here."""

from typing import Annotated

from examples.tracker.database import Db, User
from micropie import App, BindingErrors, Redirect, Request, flash, get, post
from micropie.middleware import RateLimit


def current_user(request: Request, db: Db) -> User:
    """Return who is logged in. Strangers are sent to the log-in, and come back after it."""
    user = db.find(User, request.session.get("user", ""))
    if user is None:
        raise Redirect(request.url_for("/account.login", back=request.root_path + request.path))
    return user


CurrentUser = Annotated[User, current_user]


def logged_in(request: Request) -> bool:
    """Check without the database, for streams: they keep what a check or a handler asks for open,
    maybe for hours.
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
        # an id that somebody has planted is worth nothing from now on
        self.request.session.regenerate()
        self.request.session["user"] = name
        flash(f"Welcome, {name}!")
        return Redirect(back or self.url_for("/index"))

    @post
    def logout(self) -> Redirect:
        self.request.session.clear()
        return Redirect(self.url_for("login"))

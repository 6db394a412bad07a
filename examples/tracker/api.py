"""The API for programs: JSON, a token for each request, and a page that documents it."""

from pathlib import Path

from examples.tracker.database import Db, Issue, IssueForm, Project, User, token_hash
from examples.tracker.projects import page_of
from micropie import App, Request, describe, get, post
from micropie.middleware import BearerAuth
from micropie.openapi import Docs


def token_user(request: Request) -> User:
    user: User = request.state.user
    return user


class V1(App):
    @get("/issues/<number:int>")
    def issue(self, issue: Issue) -> Issue:
        """Show an issue."""
        return issue

    @get("/projects/<key>/issues")
    def issues(self, project: Project, db: Db, page: int = 1, closed: bool = False) -> list[Issue]:
        """List the issues of a project, 20 at a time."""
        found = page_of(project, db, page, closed)
        self.response.headers["Link"] = found.link_header()
        return [*found]

    @post("/projects/<key>/issues")
    @describe(status=201, response_model=Issue)
    def create(self, project: Project, user: User, db: Db, form: IssueForm) -> object:
        """Open an issue."""
        number = db.add_issue(project, user, form)
        return 201, db.find(Issue, number), {"Location": self.url_for("issue", number=number)}


class Api(App):
    def __init__(self, database: Path) -> None:
        super().__init__(text="plain", errors="json", docs=Docs(title="Tracker", version="1.0"))

        def user_of(token: str) -> User | None:
            with Db.opened(database) as db:
                return db.one(User, "select * from users where token = ?", token_hash(token))

        self.v1 = BearerAuth(user_of)(V1())  # the page and the document need no token
        self.provides(User)(token_user)

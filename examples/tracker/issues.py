"""One issue: its comments, which open pages get as they are written, and its attachments."""

import secrets
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from examples.tracker.accounts import CurrentUser
from examples.tracker.database import Db, Issue, IssueForm
from micropie import (
    App,
    BindingErrors,
    EventStream,
    Redirect,
    UploadFile,
    flash,
    get,
    post,
    route,
    static_file,
)

Text = Annotated[str, Meta(min_length=1, max_length=5000)]


class News(App):
    @get("/<number:int>")
    async def issue(self, number: int) -> EventStream:
        return EventStream(self.channels.subscribe(f"issue-{number}"), heartbeat=1.0)


class Issues(App):
    def __init__(self, uploads: Path) -> None:
        super().__init__()
        self._uploads = uploads

    def _page(self, issue: Issue, db: Db, errors: BindingErrors) -> str:
        comments = db.execute(
            "select * from comments where issue = ? order by id", [issue.number]
        ).fetchall()
        files = db.execute(
            "select * from attachments where issue = ? order by id", [issue.number]
        ).fetchall()
        return self.render("issue.html", issue=issue, comments=comments, files=files, errors=errors)

    @get("/<number:int>")
    def show(self, issue: Issue, db: Db, errors: BindingErrors) -> str:
        return self._page(issue, db, errors)

    @route("/<number:int>/edit", methods=["GET", "POST"])
    def edit(
        self, issue: Issue, db: Db, errors: BindingErrors, form: IssueForm | None = None
    ) -> object:
        if form is None:
            errors.fill(issue)
            return 422 if errors else 200, self.render("edit.html", errors=errors, issue=issue)
        db.change_issue(issue, form)
        flash("Saved.")
        return Redirect(self.url_for("show", number=issue.number))

    @post("/<number:int>/comments")
    def comment(
        self, issue: Issue, user: CurrentUser, db: Db, errors: BindingErrors, text: Text
    ) -> object:
        if errors:
            return 422, self._page(issue, db, errors)
        number = db.insert("comments", issue=issue.number, author=user.name, text=text)
        news = {"id": number, "author": user.name, "text": text}
        # publish when the comment has been committed
        self.request.after_response(self.channels.publish, f"issue-{issue.number}", news)
        return Redirect(self.url_for("show", number=issue.number) + f"#comment-{number}")

    @post("/<number:int>/attachments")
    def attach(
        self, issue: Issue, db: Db, errors: BindingErrors, file: UploadFile | None = None
    ) -> object:
        if file is None:
            errors.add("file", "Please choose a file.")
            return 422, self._page(issue, db, errors)
        folder = secrets.token_hex(8)  # so that two files may have the same name
        (self._uploads / folder).mkdir()
        path = file.save_to(self._uploads / folder)
        db.insert("attachments", issue=issue.number, folder=folder, name=path.name)
        flash(f"{path.name} is attached ({file.size} bytes).")
        return Redirect(self.url_for("show", number=issue.number))

    @get("/files/<path:path>")
    def file(self, path: str) -> object:
        return static_file(path, root=self._uploads, download=True)

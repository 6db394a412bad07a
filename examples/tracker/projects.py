"""The list of projects, and the list of a project's issues. Other parts use the providers, too."""

from examples.tracker.accounts import CurrentUser
from examples.tracker.database import Db, Issue, IssueForm, Project
from micropie import App, BindingErrors, HTTPError, Page, Redirect, flash, get, route


def wanted_project(key: str, db: Db) -> Project:
    project = db.find(Project, key)
    if project is None:
        raise HTTPError(404, "There is no such project.")
    return project


def wanted_issue(number: int, db: Db) -> Issue:
    issue = db.find(Issue, number)
    if issue is None:
        raise HTTPError(404, "There is no such issue.")
    return issue


def page_of(project: Project, db: Db, page: int, closed: bool, size: int = 20) -> Page[Issue]:
    chosen = "from issues where project = ? and closed = ?", project.key, closed
    (total,) = db.execute(f"select count(*) {chosen[0]}", chosen[1:]).fetchone()
    sql = f"select * {chosen[0]} order by number desc limit ? offset ?"
    return Page(
        db.all(Issue, sql, *chosen[1:], size, Page.offset(page, size)), page, size=size, total=total
    )


class Projects(App):
    @get("/<key>")
    def show(self, project: Project, db: Db, page: int = 1, closed: bool = False) -> str:
        return self.render(
            "project.html", project=project, page=page_of(project, db, page, closed), closed=closed
        )

    @route("/<key>/new", methods=["GET", "POST"])
    def new(
        self,
        project: Project,
        user: CurrentUser,
        db: Db,
        errors: BindingErrors,
        form: IssueForm | None = None,
    ) -> object:
        if form is None:
            errors.fill({"priority": "normal"})
            return 422 if errors else 200, self.render("edit.html", errors=errors, project=project)
        number = db.add_issue(project, user, form)
        flash(f"Issue {number} is open.")
        return Redirect(self.url_for("/issues.show", number=number))

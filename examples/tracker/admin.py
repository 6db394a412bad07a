"""Pages for administrators: the users, and new projects."""

from examples.tracker.database import Db, Project, ProjectForm, User
from micropie import App, BindingErrors, Redirect, flash, get, post


class Admin(App):
    def _page(self, db: Db, errors: BindingErrors) -> str:
        users, projects = (
            db.all(User, "select * from users"),
            db.all(Project, "select * from projects"),
        )
        return self.render("admin.html", users=users, projects=projects, errors=errors)

    @get
    def index(self, db: Db, errors: BindingErrors) -> str:
        return self._page(db, errors)

    @post
    def add_project(self, db: Db, errors: BindingErrors, form: ProjectForm | None = None) -> object:
        if form is not None and db.find(Project, form.key) is not None:
            errors.add("key", "This key is taken.")
        if form is None or errors:
            return 422, self._page(db, errors)
        db.insert("projects", key=form.key, title=form.title)
        flash(f"{form.title} is there.")
        return Redirect(self.url_for("index"))

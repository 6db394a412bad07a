import os
from contextlib import asynccontextmanager

from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from micropie import App, HTTPError, delete, describe, get, post
from micropie.openapi import Docs

from database import Base, IngredientRow, RecipeRow, UserRow, sessions
from models import Minutes, NewRecipe, NewUser, Recipe, Token, User
from passwords import hash_password, is_password
from tokens import auth, new_token

NOBODY = hash_password("the hash that is compared for a name that nobody has")


NO_RECIPE = {404: "There is no such recipe."}


class Recipes(App):
    """Recipes that everybody may read, and users may add."""

    # -- users

    @post("/users")
    @describe(
        status=201, response_model=User, tags=["users"], responses={409: "The name is taken."}
    )
    def sign_up(self, db: Session, user: NewUser):
        """Sign up."""
        db.add(UserRow(name=user.name, password_hash=hash_password(user.password)))
        try:
            db.flush()
        except IntegrityError:
            raise HTTPError(409, f"There is a user {user.name}.") from None
        return 201, user

    @post("/tokens")
    @describe(
        status=201,
        response_model=Token,
        tags=["users"],
        responses={403: "The name or the password is wrong."},
    )
    def log_in(self, db: Session, user: NewUser):
        """Get a token, which is valid for 30 days."""
        found = db.scalar(select(UserRow).where(UserRow.name == user.name))
        if (
            not is_password(user.password, NOBODY if found is None else found.password_hash)
            or found is None
        ):
            raise HTTPError(403, "The name or the password is wrong.")
        return 201, Token(new_token(db, found)), {"Cache-Control": "no-store"}

    # -- recipes

    @get("/recipes")
    def recipes(self, db: Session, up_to: Minutes | None = None) -> list[Recipe]:
        """List all recipes, or those that take at most `up_to` minutes."""
        found = select(RecipeRow).order_by(RecipeRow.id)
        return db.scalars(found if up_to is None else found.where(RecipeRow.minutes <= up_to)).all()

    @auth
    @post("/recipes")
    @describe(status=201, response_model=Recipe, responses={409: "There is such a recipe."})
    def add(self, db: Session, recipe: NewRecipe):
        """Add a recipe."""
        ingredients = [IngredientRow(name=one.name, grams=one.grams) for one in recipe.ingredients]
        author = self.request.state.user
        made = RecipeRow(
            name=recipe.name, minutes=recipe.minutes, ingredients=ingredients, author_id=author.id
        )
        db.add(made)
        try:
            db.flush()  # the database creates the id
        except IntegrityError:
            raise HTTPError(409, f"There is a recipe for {recipe.name}.") from None
        return 201, made, {"Location": self.url_for("show", number=made.id)}

    @get("/recipes/<number:int>")
    @describe(responses=NO_RECIPE)
    def show(self, db: Session, number: int) -> Recipe:
        """Show a recipe."""
        found = db.get(RecipeRow, number)
        if found is None:
            raise HTTPError(404, f"There is no recipe {number}.")
        return found

    @auth
    @delete("/recipes/<number:int>")
    @describe(status=204, responses={403: "It is another author's.", **NO_RECIPE})
    def remove(self, db: Session, number: int):
        """Delete one of your own recipes."""
        found = self.show(db, number)
        if found.author.id != self.request.state.user.id:
            raise HTTPError(403, "Only its author may delete a recipe.")
        db.delete(found)
        return 204, None


def make_app(url):
    engine = create_engine(url)
    sessions.configure(bind=engine)

    @asynccontextmanager
    async def lifespan(app):
        Base.metadata.create_all(engine)
        yield
        engine.dispose()

    docs = Docs(title="Recipes", version="1.0.0")
    app = Recipes(errors="json", expose="explicit", lifespan=lifespan, docs=docs)
    app.provides(Session)(sessions.begin)
    return app


app = make_app(os.environ.get("DATABASE_URL", "sqlite:///recipes.db"))

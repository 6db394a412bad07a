import os
from contextlib import asynccontextmanager

from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from micropie import App, HTTPError, delete, describe, get, post

from database import Base, IngredientRow, RecipeRow, UserRow, sessions
from models import NewRecipe, NewUser, Recipe, Token, User
from passwords import hash_password, is_password
from tokens import auth, new_token

NOBODY = hash_password("the hash that is compared for a name that nobody has")


class Recipes(App):
    # -- users

    @post("/users")
    @describe(status=201, response_model=User)
    def sign_up(self, db: Session, user: NewUser):
        db.add(UserRow(name=user.name, password_hash=hash_password(user.password)))
        try:
            db.flush()
        except IntegrityError:
            raise HTTPError(409, f"There is a user {user.name}.") from None
        return 201, user

    @post("/tokens")
    @describe(status=201, response_model=Token)
    def log_in(self, db: Session, user: NewUser):
        found = db.scalar(select(UserRow).where(UserRow.name == user.name))
        if (
            not is_password(user.password, NOBODY if found is None else found.password_hash)
            or found is None
        ):
            raise HTTPError(403, "The name or the password is wrong.")
        return 201, Token(new_token(db, found)), {"Cache-Control": "no-store"}

    # -- recipes

    @get("/recipes")
    def recipes(self, db: Session, up_to: int | None = None) -> list[Recipe]:
        found = select(RecipeRow).order_by(RecipeRow.id)
        return db.scalars(found if up_to is None else found.where(RecipeRow.minutes <= up_to)).all()

    @auth
    @post("/recipes")
    @describe(status=201, response_model=Recipe)
    def add(self, db: Session, recipe: NewRecipe):
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
    def show(self, db: Session, number: int) -> Recipe:
        found = db.get(RecipeRow, number)
        if found is None:
            raise HTTPError(404, f"There is no recipe {number}.")
        return found

    @auth
    @delete("/recipes/<number:int>")
    @describe(status=204)
    def remove(self, db: Session, number: int):
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

    app = Recipes(errors="json", expose="explicit", lifespan=lifespan)
    app.provides(Session)(sessions.begin)
    return app


app = make_app(os.environ.get("DATABASE_URL", "sqlite:///recipes.db"))

import os
from contextlib import asynccontextmanager

from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from micropie import App, HTTPError, describe, get, post

from database import Base, IngredientRow, RecipeRow, sessions
from models import NewRecipe, Recipe


class Recipes(App):
    @get("/recipes")
    def recipes(self, db: Session, up_to: int | None = None) -> list[Recipe]:
        found = select(RecipeRow).order_by(RecipeRow.id)
        return db.scalars(found if up_to is None else found.where(RecipeRow.minutes <= up_to)).all()

    @post("/recipes")
    @describe(status=201, response_model=Recipe)
    def add(self, db: Session, recipe: NewRecipe):
        ingredients = [IngredientRow(name=one.name, grams=one.grams) for one in recipe.ingredients]
        made = RecipeRow(name=recipe.name, minutes=recipe.minutes, ingredients=ingredients)
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

from micropie import App, HTTPError, describe, get, post

from models import NewRecipe, Recipe


class Recipes(App):
    def __init__(self, **settings):
        super().__init__(errors="json", expose="explicit", **settings)
        self._recipes = []

    @get("/recipes")
    def recipes(self) -> list[Recipe]:
        return self._recipes

    @post("/recipes")
    @describe(status=201, response_model=Recipe)
    def add(self, recipe: NewRecipe):
        made = Recipe(**vars(recipe), id=len(self._recipes) + 1)
        self._recipes.append(made)
        return 201, made, {"Location": self.url_for("show", number=made.id)}

    @get("/recipes/<number:int>")
    def show(self, number: int) -> Recipe:
        if not 1 <= number <= len(self._recipes):
            raise HTTPError(404, f"There is no recipe {number}.")
        return self._recipes[number - 1]


app = Recipes()

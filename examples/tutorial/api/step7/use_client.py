import sys

from recipes_client import AuthenticatedClient, Client
from recipes_client.api.default import add, recipes
from recipes_client.api.users import log_in, sign_up
from recipes_client.models import Ingredient, NewRecipe, NewUser, Problem

URL = sys.argv[1]

with Client(base_url=URL) as client:
    user = NewUser(name="ann", password="apple pie")
    sign_up.sync(client=client, body=user)
    token = log_in.sync(client=client, body=user).token

with AuthenticatedClient(base_url=URL, token=token) as client:
    pie = NewRecipe(
        name="Apple pie", ingredients=[Ingredient(name="apples", grams=800)], minutes=90
    )
    made = add.sync(client=client, body=pie)
    print(f"{made.name} by {made.author.name}")
    wrong = add.sync(client=client, body=NewRecipe(name="", ingredients=[]))
    assert isinstance(wrong, Problem)
    print(wrong.status, wrong.title)
    print([one.name for one in recipes.sync(client=client, up_to=100)])

"""Applications in the manner of the pages of FastAPI's and Litestar's manuals, written in our way;
each is named after its subject.
"""

from __future__ import annotations

from micropie import App
from tests.openapi.manual import answers, requests, resources, security, transfer
from tests.openapi.manual.shop import Shop


class Manual(App):
    # a bigger application in several files
    shop = Shop()
    # bodies, headers, cookies, files
    body_parts = requests.BodyParts()
    header_models = requests.HeaderModels()
    cookie_models = requests.CookieModels()
    forms_and_files = requests.FormsAndFiles()
    example_data = requests.ExampleData()
    raw_bodies = requests.RawBodies()
    # answers
    extra_models = answers.ExtraModels()
    other_statuses = answers.OtherStatuses()
    headers_and_cookies = answers.HeadersAndCookies()
    custom_answers = answers.CustomAnswers()
    files_as_answers = answers.FilesAsAnswers()
    negotiation = answers.Negotiation()
    cached = answers.Cached()
    events = answers.Events()
    later_work = answers.LaterWork()
    problems = answers.Errors()
    # security
    tokens = security.Tokens()
    keys = security.Keys()
    guards = security.Guards()
    sessions = security.Sessions()
    rates = security.Rates()
    # dependencies, databases, applications inside
    dependencies = resources.Dependencies()
    yielded = resources.Yielded()
    checked = resources.Checked()
    heroes = resources.Heroes()
    stateful = resources.Stateful()
    sub_applications = resources.SubApplications()
    layers = resources.Layers()
    # data transfer objects, pages, a list of things to do
    people = transfer.Transfer()
    renamed = transfer.RenamedModels()
    pages = transfer.Pages()
    todos = transfer.Todos()

    def __init__(self) -> None:
        super().__init__(text="plain", errors="json")

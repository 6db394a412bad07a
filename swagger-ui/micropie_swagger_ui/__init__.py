"""Files of Swagger UI, for the page of micropie's ``App(docs=True)``; micropie finds them here."""

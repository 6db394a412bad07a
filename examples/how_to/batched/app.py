from micropie import App, HTTPError, batched, run_async


def rate_many(words: list[str]):  # a model rates many words in one call
    return [len(word) if word.isalpha() else HTTPError(422, "No word.") for word in words]


rate = batched(rate_many, size=32, within=0.005)


class Root(App):
    async def rating(self, word: str):
        return {"rating": await rate(word)}

    def stars(self, word: str):  # in def code
        return "*" * run_async(rate, word)


app = Root()

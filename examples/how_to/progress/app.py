from micropie import App, EventStream, event, progress, run_async


def bake(pies: int) -> int:
    for number in range(1, pies + 1):
        progress(number, pies, "baked")
    return pies


class Root(App):
    def bake(self, pies: int):  # if the client leaves, the function ends
        return EventStream(self._bake(pies))

    async def _bake(self, pies: int):
        async with self.pool.start(bake, pies) as call:
            async for step in call:
                yield event(step, event="step")
            yield event(await call, event="done")

    async def order(self, pies: int):
        return await self.pool.run(bake, pies, on_progress=self._publish)

    def order_in_def(self, pies: int):
        return run_async(self.order, pies)

    def _publish(self, step):
        self.channels.publish("pies", step)


app = Root()

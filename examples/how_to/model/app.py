from micropie import App, pool_index

devices: list[str] = []


def load_model() -> None:
    devices.append(f"cuda:{pool_index()}")  # of the processes 0 and 1


app = App(processes=2, pool_startup=[load_model], pool_start="eager")

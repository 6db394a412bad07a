from micropie import App


class Shop(App):
    def index(self):
        return self.render("shop/list.html", pies=self.state.pies)

    def show(self, name):
        return {"pie": name, "stock": self.state.pies[name], "all": self.url_for("index")}

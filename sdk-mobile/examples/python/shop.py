"""A shop in a console, which tells Wakeline what happens in it.

    WAKELINE_COLLECTOR=http://127.0.0.1:8080 WAKELINE_KEY=KEY python shop.py

Commands are read line by line: list, search TEXT, view SKU, add SKU, sign-in NAME, sign-out, buy, quit.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import wakeline
from wakeline import Cart, Item, Order, Product, Wakeline


class Article(NamedTuple):
    sku: str
    name: str
    price: int


ARTICLES = [
    Article("AL-101", "Harbour mug", 1_800),
    Article("AL-102", "Tea towel", 1_250),
    Article("AL-103", "Kettle", 6_900),
]
COMMANDS = "commands: list, search TEXT, view SKU, add SKU, sign-in NAME, sign-out, buy, quit"


class Shop:
    def __init__(self, client: Wakeline) -> None:
        self.client = client
        self.in_cart: Counter[Article] = Counter()

    def run(self, command: str, argument: str) -> None:
        match command:
            case "list":
                self.list()
            case "search":
                self.search(argument)
            case "view" | "add":
                article = next((article for article in ARTICLES if article.sku == argument), None)
                if article is None:
                    print(f"there is no {argument}")
                elif command == "view":
                    self.view(article)
                else:
                    self.add(article)
            case "sign-in":
                self.client.identify(argument)
            case "sign-out":
                self.client.reset()
            case "buy":
                self.buy()
            case _:
                print(COMMANDS)

    def list(self) -> None:
        self.client.screen("shop/list")
        for article in ARTICLES:
            print(f"{article.sku}  {article.name}  {euros(article.price)}")

    def search(self, text: str) -> None:
        with self.client.timed("search", text=text):
            found = [article for article in ARTICLES if text.lower() in article.name.lower()]
        for article in found:
            print(f"{article.sku}  {article.name}")

    def view(self, article: Article) -> None:
        self.client.screen(f"shop/product/{article.sku}")
        self.client.product_view(Product(article.sku, article.name, article.price, "EUR"))
        print(f"{article.name}, {euros(article.price)}")

    def add(self, article: Article) -> None:
        self.client.tap("add to cart", sku=article.sku)
        self.in_cart[article] += 1
        self.client.cart(self.cart())
        print(f"in the cart: {euros(self.cart().value)}")

    def buy(self) -> None:
        if not self.in_cart:
            print("the cart is empty")
            return
        cart = self.cart()
        self.client.checkout(cart)
        self.client.order(Order(str(uuid.uuid4()), cart.currency, cart.value, cart.items))
        print(f"bought for {euros(cart.value)}")
        self.in_cart.clear()

    def cart(self) -> Cart:
        items = [Item(article.sku, article.price, count, article.name) for article, count in self.in_cart.items()]
        return Cart("EUR", sum(item.price * item.quantity for item in items), items)


def euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02} EUR"


def main() -> None:
    data = os.environ.get("WAKELINE_DATA", Path.home() / ".wakeline-shop")
    with wakeline.configure(
        key=os.environ["WAKELINE_KEY"],
        collector=os.environ["WAKELINE_COLLECTOR"],
        data_dir=data,
        app_version="1.0",
    ) as client:
        shop = Shop(client)
        for line in sys.stdin:
            command, _, argument = line.strip().partition(" ")
            if command == "quit":
                break
            shop.run(command, argument)
        if client.flush():
            print(f"all is sent: {client.status().accepted} events")
        else:
            print("what is not sent yet is sent by the next start")


if __name__ == "__main__":
    main()

// A shop in a console, which tells Wakeline what happens in it.
//
//     WAKELINE_COLLECTOR=http://127.0.0.1:8080 WAKELINE_KEY=KEY java -cp 'shop.jar:libs/*' shop.ShopKt
//
// Commands are read line by line: `list`, `search TEXT`, `view SKU`, `add SKU`, `sign-in NAME`, `sign-out`, `buy`, `quit`.
package shop

import kotlinx.coroutines.runBlocking
import wakeline.Cart
import wakeline.Item
import wakeline.Order
import wakeline.Product
import wakeline.Wakeline
import java.util.UUID

private class Article(val sku: String, val name: String, val price: Long)

private val articles = listOf(
    Article("AL-101", "Harbour mug", 1_800),
    Article("AL-102", "Tea towel", 1_250),
    Article("AL-103", "Kettle", 6_900),
)

private class Shop(private val wakeline: Wakeline) {
    private val cart = mutableMapOf<Article, Long>()

    fun run(command: String, argument: String) {
        when (command) {
            "list" -> list()
            "search" -> search(argument)
            "view" -> article(argument)?.let(::view)
            "add" -> article(argument)?.let(::add)
            "sign-in" -> wakeline.identify(argument)
            "sign-out" -> wakeline.reset()
            "buy" -> buy()
            else -> println("commands: list, search TEXT, view SKU, add SKU, sign-in NAME, sign-out, buy, quit")
        }
    }

    private fun list() {
        wakeline.screen("shop/list")
        articles.forEach { println("${it.sku}  ${it.name}  ${euros(it.price)}") }
    }

    private fun search(text: String) {
        val found = wakeline.timed("search", "text" to text) {
            articles.filter { text.lowercase() in it.name.lowercase() }
        }
        found.forEach { println("${it.sku}  ${it.name}") }
    }

    private fun view(article: Article) {
        wakeline.screen("shop/product/${article.sku}")
        wakeline.productView(Product(article.sku, article.name, article.price, "EUR"))
        println("${article.name}, ${euros(article.price)}")
    }

    private fun add(article: Article) {
        wakeline.tap("add to cart", "sku" to article.sku)
        cart.merge(article, 1, Long::plus)
        wakeline.cart(Cart("EUR", total(), items()))
        println("in the cart: ${euros(total())}")
    }

    private fun buy() {
        if (cart.isEmpty()) return println("the cart is empty")
        wakeline.checkout(Cart("EUR", total(), items()))
        wakeline.order(Order(UUID.randomUUID().toString(), "EUR", total(), items()))
        println("bought for ${euros(total())}")
        cart.clear()
    }

    private fun article(sku: String): Article? =
        articles.find { it.sku == sku } ?: null.also { println("there is no $sku") }

    private fun items() = cart.map { (article, count) -> Item(article.sku, article.price, count, article.name) }

    private fun total() = cart.entries.sumOf { (article, count) -> article.price * count }
}

private fun euros(cents: Long) = "%d.%02d EUR".format(cents / 100, cents % 100)

fun main() {
    val environment = System.getenv()
    val wakeline = Wakeline.configure {
        key = environment.getValue("WAKELINE_KEY")
        collector = environment.getValue("WAKELINE_COLLECTOR")
        dataDir = environment["WAKELINE_DATA"] ?: "${System.getProperty("user.home")}/.wakeline-shop"
        appVersion = "1.0"
    }
    wakeline.use {
        val shop = Shop(wakeline)
        for (line in generateSequence(::readlnOrNull).takeWhile { it != "quit" }) {
            shop.run(line.substringBefore(' '), line.substringAfter(' ', ""))
        }
        val sent = runBlocking { wakeline.flush() }
        println(if (sent) "all is sent: ${wakeline.status().accepted} events" else "what is not sent yet is sent by the next start")
    }
}

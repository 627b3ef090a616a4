package wakeline

import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.addJsonObject
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonArray

/**
 * A product that is looked at.
 *
 * @property sku what the shop calls it
 * @property price of one piece, in minor units (cents)
 * @property currency ISO 4217, upper case
 */
public data class Product(
    val sku: String,
    val name: String? = null,
    val price: Long? = null,
    val currency: String? = null,
) {
    internal fun properties(): Map<String, Any?> =
        mapOf("sku" to sku, "name" to name, "price" to price, "currency" to currency)
}

/**
 * A line of a cart or an order.
 *
 * @property price of one piece, in minor units (cents)
 */
public data class Item(
    val sku: String,
    val price: Long,
    val quantity: Long = 1,
    val name: String? = null,
)

/**
 * What is in a cart.
 *
 * @property currency ISO 4217, upper case
 * @property value the total, in minor units (cents)
 */
public data class Cart(
    val currency: String,
    val value: Long,
    val items: List<Item>,
    val id: String? = null,
) {
    internal fun json(): JsonObject = orderJson(id, currency, value, items)
}

/**
 * An order that was placed.
 *
 * @property id tells it from others: an order counts once, however often it is recorded
 * @property currency ISO 4217, upper case
 * @property value the total, in minor units (cents)
 */
public data class Order(
    val id: String,
    val currency: String,
    val value: Long,
    val items: List<Item>,
) {
    internal fun json(): JsonObject = orderJson(id, currency, value, items)
}

private fun orderJson(id: String?, currency: String, value: Long, items: List<Item>): JsonObject = buildJsonObject {
    if (id != null) put("id", wellFormed(id))
    put("currency", wellFormed(currency))
    put("value", value)
    putJsonArray("items") {
        for (item in items) {
            addJsonObject {
                put("sku", wellFormed(item.sku))
                if (item.name != null) put("name", wellFormed(item.name))
                put("price", item.price)
                put("quantity", item.quantity)
            }
        }
    }
}

package wakeline

import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import java.math.BigDecimal
import java.math.BigInteger
import java.time.Instant
import java.util.Date

/** Properties as the core takes them. What is `null` is left out; what is no property is JSON's `null`, which the core counts as misuse. */
internal fun objectOf(properties: Map<String, Any?>): JsonObject = buildJsonObject {
    for ((name, value) in properties) {
        if (value != null) put(wellFormed(name), jsonOf(value))
    }
}

private fun jsonOf(value: Any): JsonElement = when (value) {
    is CharSequence -> JsonPrimitive(wellFormed(value.toString()))
    is Char -> JsonPrimitive(wellFormed(value.toString()))
    is Boolean -> JsonPrimitive(value)
    is Double -> if (value.isFinite()) JsonPrimitive(value) else JsonNull
    is Float -> if (value.isFinite()) JsonPrimitive(value) else JsonNull
    is Byte, is Short, is Int, is Long -> JsonPrimitive(value as Number)
    is BigInteger -> JsonPrimitive(value.toString())
    is BigDecimal -> JsonPrimitive(value.toPlainString())
    is Enum<*> -> JsonPrimitive(value.name)
    is Instant -> timestamp(value.toEpochMilli())
    is Date -> timestamp(value.time)
    else -> JsonNull
}

private fun timestamp(ms: Long): JsonObject = buildJsonObject { put("timestamp", ms) }

/** The text with `?` for halves of surrogate pairs that stand alone, which UTF-8 can't say. */
internal fun wellFormed(text: String): String =
    if (text.any(Char::isSurrogate)) String(text.toByteArray(Charsets.UTF_8), Charsets.UTF_8) else text

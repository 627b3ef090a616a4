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
        if (value != null) put(short(name), jsonOf(value))
    }
}

private fun jsonOf(value: Any): JsonElement = when (value) {
    is CharSequence -> JsonPrimitive(short(value.toString()))
    is Char -> JsonPrimitive(wellFormed(value.toString()))
    is Boolean -> JsonPrimitive(value)
    is Double -> if (value.isFinite()) JsonPrimitive(value) else JsonNull
    is Float -> if (value.isFinite()) JsonPrimitive(value) else JsonNull
    is Byte, is Short, is Int, is Long -> JsonPrimitive(value as Number)
    is BigInteger -> JsonPrimitive(value.toString())
    is BigDecimal -> JsonPrimitive(if (value.scale() in PLAIN) value.toPlainString() else value.toString())
    is Enum<*> -> JsonPrimitive(value.name)
    is Instant -> if (value in YEARS) timestamp(value.toEpochMilli()) else JsonNull
    is Date -> timestamp(value.time)
    else -> JsonNull
}

/** Scales of numbers that are written without an exponent: of others, the zeros alone may not fit in memory. */
private val PLAIN = -1_000..1_000

/** What has a number of milliseconds. */
private val YEARS = Instant.ofEpochMilli(Long.MIN_VALUE)..Instant.ofEpochMilli(Long.MAX_VALUE)

/** More than the core keeps of a text, so that it counts what it cuts; what is longer could make the event too large to be read. */
private const val SHORT = 4_097

private fun timestamp(ms: Long): JsonObject = buildJsonObject { put("timestamp", ms) }

/** The text's beginning, well-formed: all that can be kept of it. */
internal fun short(text: String): String = wellFormed(text.take(SHORT))

/** The text with `?` for halves of surrogate pairs that stand alone, which UTF-8 can't say. */
internal fun wellFormed(text: String): String =
    if (text.any(Char::isSurrogate)) String(text.toByteArray(Charsets.UTF_8), Charsets.UTF_8) else text

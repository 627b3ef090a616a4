package wakeline

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long

/**
 * What became of all that was recorded since the client was opened.
 *
 * @property recorded events that were taken, the SDK's own (`app_open`, engagement, misuse) included
 * @property queued events that wait to be sent
 * @property accepted events that the collector took
 * @property rejected events that the collector refused, by its reasons
 * @property refused calls that can't be events, by reasons
 * @property dropped events that were too many, too old, poison or forgotten, by reasons
 * @property restored events that an earlier process left
 * @property corrupt events that the disk had lost
 * @property misuse properties and texts that were mended or left out, by problems
 * @property onDisk whether the queue is on disk: if not, [storageError] says why
 * @property stopped 401 or 403 while the collector refuses the key: everything is kept, and [Wakeline.reconfigure] goes on; else 0
 * @property install the visitor's id on this device
 */
public data class Status(
    val recorded: Long = 0,
    val queued: Long = 0,
    val accepted: Long = 0,
    val rejected: Map<String, Long> = emptyMap(),
    val refused: Map<String, Long> = emptyMap(),
    val dropped: Map<String, Long> = emptyMap(),
    val restored: Long = 0,
    val corrupt: Long = 0,
    val misuse: Map<String, Long> = emptyMap(),
    val onDisk: Boolean = false,
    val storageError: String = "",
    val stopped: Int = 0,
    val install: String = "",
) {
    internal companion object {
        fun of(json: String): Status {
            val status = Json.parseToJsonElement(json).jsonObject
            return Status(
                recorded = status.number("recorded"),
                queued = status.number("queued"),
                accepted = status.number("accepted"),
                rejected = status.counts("rejected"),
                refused = status.counts("refused"),
                dropped = status.counts("dropped"),
                restored = status.number("restored"),
                corrupt = status.number("corrupt"),
                misuse = status.counts("misuse"),
                onDisk = status.text("storage") == "disk",
                storageError = status.text("storage_error"),
                stopped = status.number("stopped").toInt(),
                install = status.text("install"),
            )
        }
    }
}

private fun JsonObject.number(name: String): Long = (this[name] as? JsonPrimitive)?.long ?: 0

private fun JsonObject.text(name: String): String = (this[name] as? JsonPrimitive)?.content.orEmpty()

private fun JsonObject.counts(name: String): Map<String, Long> =
    this[name]?.jsonObject?.mapValues { (_, count) -> count.jsonPrimitive.long }.orEmpty()

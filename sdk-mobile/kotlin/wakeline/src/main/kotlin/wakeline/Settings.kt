package wakeline

import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import java.util.Locale
import java.util.TimeZone
import kotlin.time.Duration

/** What [Wakeline.configure] is told. [key], [collector] and [dataDir] are needed; what is `null` is as the core has it. */
public class Settings internal constructor() {
    /** The site's write key. */
    public var key: String = ""

    /** Where the collector is: `https://collector.example`. */
    public var collector: String = ""

    /** A folder of the app's own; the queue and the install id are in it. */
    public var dataDir: String = ""

    /** What the person answered already. */
    public var consent: Consent = Consent.NotAsked

    /** Properties of all events. */
    public var defaults: Map<String, Any?> = emptyMap()

    /** The app's version. */
    public var appVersion: String? = null

    /** The operating system. */
    public var os: String? = system()

    /** Its version. */
    public var osVersion: String? = System.getProperty("os.version")

    /** The device's model. */
    public var model: String? = null

    /** What the device is; unset, a phone where [os] is Android or iOS, else a desktop. */
    public var form: Form? = null

    /** The person's language, as BCP 47 has it. */
    public var language: String? = Locale.getDefault().toLanguageTag()

    /** The person's time zone: `Europe/Berlin`. */
    public var timezone: String? = TimeZone.getDefault().id

    /** The screen's width in density-independent pixels. */
    public var screenWidth: Int? = null

    /** The screen's height in density-independent pixels. */
    public var screenHeight: Int? = null

    /** A visit ends after so long without an event; 30 minutes if unset. */
    public var sessionGap: Duration? = null

    /** What is recorded is on disk after so long; 500 ms if unset, at most 1 s. Orders are there at once. */
    public var flushInterval: Duration? = null

    /** The queue's size on disk; beyond it, what matters least goes first. 10 MiB if unset. */
    public var queueMaxBytes: Long? = null

    /** Older events are dropped; 30 days if unset. */
    public var queueMaxAgeDays: Int? = null

    /** Events wait so long for others, to leave together; 5 s if unset. */
    public var batchWait: Duration? = null

    /** So many events leave at once; 50 if unset. */
    public var batchEvents: Int? = null

    /** How requests are made. */
    public var transport: Transport = UrlConnectionTransport()

    internal fun json(): JsonObject = buildJsonObject {
        put("key", wellFormed(key))
        put("url", wellFormed(collector))
        put("data_dir", wellFormed(dataDir))
        put("sdk", "kotlin")
        put("consent", consent.word)
        if (defaults.isNotEmpty()) put("defaults", objectOf(defaults))
        text("app_version", appVersion)
        text("os", os)
        text("os_version", osVersion)
        text("model", model)
        text("form", form?.word)
        text("language", language)
        text("timezone", timezone)
        number("screen_width", screenWidth)
        number("screen_height", screenHeight)
        number("session_gap_minutes", sessionGap?.inWholeMinutes)
        number("flush_interval_ms", flushInterval?.inWholeMilliseconds)
        number("queue_max_bytes", queueMaxBytes)
        number("queue_max_age_days", queueMaxAgeDays)
        number("batch_wait_ms", batchWait?.inWholeMilliseconds)
        number("batch_events", batchEvents)
    }
}

/** The JVM calls each Windows by its version. */
private fun system(): String? = System.getProperty("os.name")?.let { if (it.startsWith("Windows")) "Windows" else it }

private fun JsonObjectBuilder.text(name: String, value: String?) {
    if (value != null) put(name, wellFormed(value))
}

private fun JsonObjectBuilder.number(name: String, value: Number?) {
    if (value != null) put(name, value)
}

/** What the person answered. Until it is [Granted], nothing is recorded; [Denied] also erases what waits. */
public enum class Consent(internal val word: String) {
    /** The site does not ask. */
    NotAsked("none"),

    /** The person was asked and has not answered. */
    Pending("pending"),

    /** The person agreed. */
    Granted("granted"),

    /** The person refused: nothing is recorded. */
    Denied("denied"),
}

/** What a device is. */
public enum class Form(internal val word: String) {
    /** A phone. */
    Mobile("mobile"),

    /** A tablet. */
    Tablet("tablet"),

    /** A computer, servers included. */
    Desktop("desktop"),

    /** A television. */
    Tv("tv"),
}

/** What network there is. */
public enum class Network(internal val word: String) {
    /** One that costs nothing. */
    Online("online"),

    /** One that is paid by the byte: uploads are fewer. */
    Metered("metered"),

    /** None: nothing is tried. */
    Offline("offline"),
}

/** Where a swipe goes. */
public enum class Direction(internal val word: String) {
    /** To the left. */
    Left("left"),

    /** To the right. */
    Right("right"),

    /** Up. */
    Up("up"),

    /** Down. */
    Down("down"),
}

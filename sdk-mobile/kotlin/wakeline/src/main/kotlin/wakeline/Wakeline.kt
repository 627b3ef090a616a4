package wakeline

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.delay
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import wakeline.ffi.ConfigException
import wakeline.ffi.Core
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/**
 * The client of Wakeline, first-party clickstream analytics.
 *
 * ```
 * val wakeline = Wakeline.configure {
 *     key = "YOUR-WRITE-KEY"
 *     collector = "https://YOUR-COLLECTOR"
 *     dataDir = "$home/wakeline"
 * }
 * wakeline.track("newsletter", "place" to "footer")
 * ```
 *
 * All calls may come from any thread. After [configure] none throws but [reconfigure], and none waits for a network; calls that record say
 * `true` if the event was taken: it is on disk within half a second and leaves as soon as it can. What can't be an event
 * is refused, counted in [status], and told to the collector. Money is in minor units (cents).
 */
public class Wakeline internal constructor(
    private val core: Core,
    transport: Transport,
) : AutoCloseable {
    private val recorder = Recorder(core)
    private val uploads = Uploads(core, transport)
    private val atExit = Thread { close() }

    init {
        try {
            Runtime.getRuntime().addShutdownHook(atExit)
        } catch (_: IllegalStateException) {
            // The process is ending already: what is recorded now is written within half a second, or not at all.
        }
    }

    /** Records an event of your own. */
    public fun track(name: String, properties: Map<String, Any?>): Boolean =
        record("custom", properties) { put("name", short(name)) }

    /** Records an event of your own. */
    public fun track(name: String, vararg properties: Pair<String, Any?>): Boolean = track(name, mapOf(*properties))

    /** Records that a screen is shown; later events are of this screen. */
    public fun screen(name: String, vararg properties: Pair<String, Any?>): Boolean =
        record("screen_view", mapOf(*properties)) { put("url", short(name)) }

    /** Records a tap on what has this name. */
    public fun tap(name: String, vararg properties: Pair<String, Any?>): Boolean =
        record("click", mapOf(*properties)) { put("name", short(name)) }

    /** Records a swipe in a direction. */
    public fun swipe(direction: Direction, vararg properties: Pair<String, Any?>): Boolean =
        record("swipe", mapOf(*properties) + ("direction" to direction.word))

    /** Records how far the screen was scrolled, in percent. */
    public fun scroll(percent: Int): Boolean = record("scroll", mapOf("percent" to percent))

    /** Records that a product is looked at. */
    public fun productView(product: Product): Boolean = record("product_view", product.properties())

    /** Records what the cart has now. */
    public fun cart(cart: Cart): Boolean = record("cart") { put("order", cart.json()) }

    /** Records that a checkout began. */
    public fun checkout(cart: Cart): Boolean = record("checkout") { put("order", cart.json()) }

    /** Records an order; it is on disk when the call returns. */
    public fun order(order: Order): Boolean = record("order") { put("order", order.json()) }

    /** Records which variant of an experiment is shown. */
    public fun exposure(experiment: String, variant: String): Boolean =
        record("exposure") {
            put(
                "exposure",
                buildJsonObject {
                    put("experiment", wellFormed(experiment))
                    put("variant", wellFormed(variant))
                },
            )
        }

    /** Starts a clock: the next event of this name gets the property `duration_ms`. */
    public fun startTimer(name: String): Unit = safely(Unit) { core.startTimer(wellFormed(name)) }

    /** Records an event with the time that the block took as `duration_ms`. */
    public inline fun <T> timed(name: String, vararg properties: Pair<String, Any?>, block: () -> T): T {
        val start = System.nanoTime()
        try {
            return block()
        } finally {
            track(name, mapOf(*properties) + ("duration_ms" to (System.nanoTime() - start) / 1_000_000))
        }
    }

    /** Says who is signed in, for this and later events. */
    public fun identify(user: String): Boolean = safely(false) { core.identify(wellFormed(user)) }

    /** Says that nobody is signed in any more: later events are of a new visitor. */
    public fun reset(): Unit = safely(Unit) { core.reset() }

    /** Sets the properties that all later events have; an event's own win. */
    public fun setDefaults(vararg properties: Pair<String, Any?>): Unit =
        safely(Unit) { core.setDefaults(objectOf(mapOf(*properties)).toString()) }

    /** Says what the person answered. */
    public fun setConsent(consent: Consent): Unit = safely(Unit) { core.setConsent(consent.word) }

    /** Says that the app is visible. */
    public fun foreground(): Unit = safely(Unit) { core.lifecycle("foreground") }

    /** Says that the app is not visible any more: what waits is written and sent. */
    public fun background(): Unit = safely(Unit) { core.lifecycle("background") }

    /** Says that memory is short: what can be on disk only leaves memory. */
    public fun lowMemory(): Unit = safely(Unit) { core.lifecycle("low_memory") }

    /** Says what network there is. */
    public fun setNetwork(network: Network): Unit = safely(Unit) { core.network(network.word) }

    /** Says that a link opened the app: its `utm_` parameters are the visit's campaign. */
    public fun openLink(url: String): Unit = safely(Unit) { core.openLink(wellFormed(url)) }

    /** Says that a push notification opened the app. */
    public fun openPush(campaign: String = ""): Unit = safely(Unit) { core.openPush(wellFormed(campaign)) }

    /**
     * Sends all that waits, and waits until it is answered.
     *
     * @return false if something still waits after [timeout]; it is sent later.
     */
    public suspend fun flush(timeout: Duration = 10.seconds): Boolean =
        withContext(Dispatchers.IO) {
            safely(Unit) { core.flush() }
            withTimeoutOrNull(timeout) {
                while (status().queued > 0) {
                    delay(LOOK_AGAIN)
                }
                true
            } ?: false
        }

    /**
     * Waits until all that was recorded is on disk.
     *
     * @return false if it is not, after [timeout] or since the disk can't be written.
     */
    public suspend fun sync(timeout: Duration = 5.seconds): Boolean =
        withContext(Dispatchers.IO) {
            safely(false) { core.sync(millis(timeout)) }
        }

    /** What became of all that was recorded. */
    public fun status(): Status = safely(Status()) { Status.of(core.status()) }

    /**
     * Takes another key or collector, and sends again what was kept.
     *
     * @throws ConfigException if one of them can't be right; the old ones stay.
     */
    @Throws(ConfigException::class)
    public fun reconfigure(key: String? = null, collector: String? = null) {
        val settings = buildJsonObject {
            key?.let { put("key", it) }
            collector?.let { put("url", it) }
        }
        core.reconfigure(settings.toString())
    }

    /** Erases queue and identity on this device: later events are of a new visitor. */
    public fun forget(): Unit = safely(Unit) { core.forget() }

    /** Writes all that was recorded to disk and ends; what waits is sent at the next start. */
    override fun close() {
        safely(false) { core.shutdown(millis(CLOSES)) }
        if (Thread.currentThread() !== atExit) {
            try {
                Runtime.getRuntime().removeShutdownHook(atExit)
            } catch (_: IllegalStateException) {
                // The process is ending; closing twice does nothing.
            }
        }
    }

    private fun record(
        type: String,
        properties: Map<String, Any?> = emptyMap(),
        more: JsonObjectBuilder.() -> Unit = {},
    ): Boolean =
        safely(false) {
            val event = try {
                buildJsonObject {
                    put("type", type)
                    more()
                    if (properties.isNotEmpty()) put("properties", objectOf(properties))
                }.toString()
            } catch (error: Throwable) {
                if (error is VirtualMachineError) throw error
                UNREADABLE // a map of the app's own that throws: the core counts it
            }
            recorder.record(event)
        }

    public companion object {
        private val LOOK_AGAIN = 20.milliseconds
        private val CLOSES = 2.seconds
        private const val UNREADABLE = "{}"

        /**
         * Opens the client: call it once, when the app starts.
         *
         * @throws ConfigException if a setting can't be right; the message says which, and what to do.
         */
        @Throws(ConfigException::class)
        public fun configure(settings: Settings.() -> Unit): Wakeline {
            val chosen = Settings().apply(settings)
            return Wakeline(Core.open(chosen.json().toString()), chosen.transport)
        }
    }
}

/** A broken native call must not break the app. What is broken in the machine itself is not ours to hide. */
private inline fun <T> safely(otherwise: T, call: () -> T): T =
    try {
        call()
    } catch (error: Throwable) {
        if (error is VirtualMachineError) throw error
        otherwise
    }

private fun millis(duration: Duration): ULong = duration.inWholeMilliseconds.coerceAtLeast(0).toULong()

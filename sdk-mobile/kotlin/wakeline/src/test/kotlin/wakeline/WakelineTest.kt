package wakeline

import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import wakeline.ffi.ConfigException
import java.time.Instant
import java.util.Date
import kotlin.concurrent.thread
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

internal class WakelineTest {
    @Test
    fun `every call reaches the collector`() {
        val client = client {
            appVersion = "2.1"
            defaults = mapOf("shop" to "north")
        }
        client.foreground()
        client.openLink("https://shop.example/mugs?utm_source=newsletter&utm_campaign=spring")
        assertTrue(client.identify("customer-17"))
        assertTrue(client.screen("home", "theme" to "dark"))
        assertTrue(client.track("search", mapOf("term" to "mug", "results" to 3, "at" to Instant.EPOCH, "since" to Date(0))))
        assertTrue(client.tap("buy"))
        assertTrue(client.swipe(Direction.Left))
        assertTrue(client.scroll(80))
        assertTrue(client.productView(Product("AL-101", "Harbour mug", 1_800, "EUR")))
        val items = listOf(Item("AL-101", 1_800, 2, "Harbour mug"))
        assertTrue(client.cart(Cart("EUR", 3_600, items)))
        assertTrue(client.checkout(Cart("EUR", 3_600, items)))
        assertTrue(client.order(Order("kotlin-1", "EUR", 3_600, items)))
        assertTrue(client.exposure("banner", "red"))
        client.startTimer("video")
        assertTrue(client.track("video"))
        assertEquals(4, client.timed("answer", "of" to "all") { 2 + 2 })
        client.setDefaults("shop" to "south")
        client.openPush("sale")
        client.reset()
        client.background()
        val status = client.arrives()
        assertTrue(status.recorded >= 14, "$status")
        assertEquals(emptyMap<String, Long>(), status.rejected)
        assertEquals(emptyMap<String, Long>(), status.refused)
        assertEquals(emptyMap<String, Long>(), status.misuse)
        assertTrue(status.onDisk)
    }

    @Test
    fun `values beyond all measure cost themselves and not the event`() {
        val client = client()
        assertTrue(client.track("price", "price" to java.math.BigDecimal("1e200000000"), "small" to java.math.BigDecimal("1e-200000000")))
        assertTrue(client.track("instants", "first" to Instant.MIN, "last" to Instant.MAX, "good" to 1))
        assertTrue(client.track("text", "text" to "x".repeat(1 shl 21)))
        assertEquals(mapOf("value_left_out" to 2L, "text_cut" to 1L), client.status().misuse)
        assertEquals(emptyMap<String, Long>(), client.status().refused)
        client.arrives()
    }

    @Test
    fun `nothing that an app passes throws and all of it is counted`() {
        val client = client()
        val broken = object : AbstractMap<String, Any?>() {
            override val entries: Set<Map.Entry<String, Any?>> get() = error("an app's own map")
        }
        assertTrue(client.track("numbers", "nan" to Double.NaN, "infinite" to Float.NEGATIVE_INFINITY, "good" to 0.5f))
        assertTrue(client.track("texts", "emoji" to "🫖", "nul" to "a\u0000b", "half" to "\ud83e", "long" to "x".repeat(1 shl 16)))
        assertTrue(client.track("values", "thread" to Thread.currentThread(), "list" to listOf(1), "none" to null))
        assertTrue(client.track("many", (1..10_000).associate { "p$it" to it }))
        assertTrue(client.track("na\u0000me\ud800"))
        assertTrue(client.track("megabyte", "long" to "ä".repeat(1 shl 18), "nuls" to "\u0000".repeat(1 shl 14)))
        assertTrue(client.track("megabytes", "long" to "x".repeat(8 shl 20)))
        assertFalse(client.track("broken", broken))
        assertFalse(client.track(""))
        assertFalse(client.order(Order("", "euro", -1, emptyList())))
        val status = client.arrives()
        assertEquals(3, status.refused.values.sum(), "$status")
        assertEquals(status.refused, status.rejected, "the collector counts them under the same reasons")
        assertTrue(status.misuse.isNotEmpty(), "$status")
    }

    @Test
    fun `settings that can't be right say what to do`() {
        fun refused(settings: Settings.() -> Unit): String =
            assertThrows(ConfigException::class.java) { client(more = settings).close() }.message.orEmpty()
        assertTrue("key" in refused { key = "" })
        assertTrue("url" in refused { collector = "shop" })
        assertTrue("flush_interval_ms" in refused { flushInterval = 60.seconds })
    }

    @Test
    fun `what is recorded offline is sent when there is a network again`() {
        val cable = Cable()
        val client = client { transport = cable }
        repeat(100) { assertTrue(client.track("offline", "n" to it)) }
        assertFalse(runBlocking { client.flush(300.milliseconds) })
        assertTrue(runBlocking { client.sync() })
        eventually("a try") { cable.asked > 0 }
        client.setNetwork(Network.Offline)
        cable.cut = false
        client.setNetwork(Network.Online)
        client.arrives()
    }

    @Test
    fun `what waits when the app ends is sent by the next start once`() {
        val folder = folder()
        val cable = Cable()
        val before = client(folder) { transport = cable }
        repeat(50) { assertTrue(before.track("before", "n" to it)) }
        before.close()
        val after = client(folder)
        assertTrue(after.track("after"))
        assertEquals(before.status().install, after.status().install)
        assertEquals(50, after.arrives().restored)
    }

    @Test
    fun `a refused key keeps all until another is given`() {
        val client = client { key = "wk_00000000000000000000000000000000" }
        repeat(10) { assertTrue(client.track("kept", "n" to it)) }
        assertFalse(runBlocking { client.flush(200.milliseconds) })
        eventually("the collector refuses the key") { client.status().stopped == 401 }
        assertTrue(client.track("kept"))
        assertEquals(11, client.status().queued)
        client.reconfigure(key = Server.key)
        client.arrives()
    }

    @Test
    fun `sixty-four threads record at once`() {
        val client = client()
        val threads = (1..64).map { number ->
            thread {
                repeat(50) {
                    assertTrue(client.track("threads", "thread" to number, "n" to it))
                }
            }
        }
        threads.forEach(Thread::join)
        assertEquals(64L * 50, client.status().recorded)
        client.arrives()
    }

    @Test
    fun `without consent nothing is recorded`() {
        val client = client { consent = Consent.Pending }
        assertFalse(client.track("not asked yet"))
        client.setConsent(Consent.Granted)
        assertTrue(client.track("agreed"))
        client.setConsent(Consent.Denied)
        assertFalse(client.track("refused"))
        client.setConsent(Consent.Granted)
        assertTrue(client.track("agreed again"))
        assertTrue(runBlocking { client.flush(30.seconds) })
        val status = client.status()
        assertEquals(mapOf("no_consent" to 2L), status.refused)
        assertEquals(1, status.accepted, "what waited was erased by the refusal")
        assertEquals(mapOf("forgotten" to 1L), status.dropped)
        tell(status.accepted)
        client.close()
    }

    @Test
    fun `whoever is forgotten is somebody else afterwards`() {
        val client = client { transport = Cable() }
        val before = client.status().install
        client.track("forgotten")
        client.forget()
        eventually("another id") { client.status().install != before }
        eventually("an empty queue") { client.status().queued == 0L }
        client.close()
    }

    @Test
    fun `calls after the end do nothing`() {
        val client = client()
        client.close()
        assertFalse(client.track("late"))
        client.close()
        client.screen("late")
        assertFalse(runBlocking { client.sync(100.milliseconds) })
    }

    @Test
    fun `a transport that throws whatever it likes costs nothing`() {
        var failures = 0
        val real = UrlConnectionTransport()
        val client = client {
            transport = Transport { request ->
                failures += 1
                if (failures == 1) error("a bug of the app's")
                real.post(request)
            }
        }
        client.track("thrown")
        client.arrives()
        assertTrue(failures > 1)
    }
}

package wakeline

import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import java.io.File
import java.io.IOException
import java.nio.file.Files
import java.util.concurrent.TimeUnit
import kotlin.time.Duration.Companion.seconds

/** The collector that tests send to. `cargo test --workspace --test it mobile` starts one, and tells. */
internal object Server {
    val collector: String = told("WAKELINE_COLLECTOR")
    val key: String = told("WAKELINE_KEY")

    private fun told(name: String): String =
        System.getenv(name) ?: error("$name is not set: run `cargo test --workspace --test it mobile`, or start `cargo run --release` and set WAKELINE_COLLECTOR and WAKELINE_KEY")
}

internal fun folder(): File = Files.createTempDirectory("wakeline").toFile().apply { deleteOnExit() }

/** A client of the real collector. */
internal fun client(dataDir: File = folder(), more: Settings.() -> Unit = {}): Wakeline = Wakeline.configure {
    key = Server.key
    collector = Server.collector
    this.dataDir = dataDir.path
    more()
}

/** Sends all that waits; each event must have one fate, and an aggregator will be asked for those that were accepted. */
internal fun Wakeline.arrives(): Status {
    assertTrue(runBlocking { flush(30.seconds) }, "not sent: ${status()}")
    val status = status()
    assertEquals(status.recorded + status.restored, status.accepted + status.rejected.values.sum(), "$status")
    tell(status.accepted)
    close()
    return status
}

/** Tells whoever compares with the aggregator how many events the collector took. */
internal fun tell(accepted: Long) {
    System.getenv("WAKELINE_ACCEPTED")?.let { File(it).appendText("$accepted\n") }
}

/** Waits for a condition. */
internal fun eventually(what: String, condition: () -> Boolean) {
    val end = System.nanoTime() + TimeUnit.SECONDS.toNanos(20)
    while (!condition()) {
        check(System.nanoTime() < end) { "$what: not within 20 s" }
        Thread.sleep(5)
    }
}

/** The platform's HTTP, which can be cut. */
internal class Cable : Transport {
    @Volatile
    var cut = true

    @Volatile
    var asked = 0

    private val real = UrlConnectionTransport()

    override fun post(request: Request): Answer {
        asked += 1
        if (cut) throw IOException("the cable is cut")
        return real.post(request)
    }
}

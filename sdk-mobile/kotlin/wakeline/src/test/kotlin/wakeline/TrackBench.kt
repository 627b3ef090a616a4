package wakeline

import org.junit.jupiter.api.Test
import java.lang.management.ManagementFactory

/** What a call costs the thread that makes it; run by name: `mvn -f sdk-mobile/kotlin -pl wakeline test -Dtest=TrackBench`. */
internal class TrackBench {
    @Test
    fun `cost of track`() {
        val client = Wakeline.configure {
            key = "wk_bench"
            collector = "http://127.0.0.1:9"
            dataDir = folder().path
            transport = Cable()
        }
        repeat(WARM_UP) { call(client, it) }
        val wall = LongArray(CALLS)
        val cpu = LongArray(CALLS)
        val threads = ManagementFactory.getThreadMXBean()
        for (number in 0 until CALLS) {
            val cpuStart = threads.currentThreadCpuTime
            val start = System.nanoTime()
            call(client, number)
            wall[number] = System.nanoTime() - start
            cpu[number] = threads.currentThreadCpuTime - cpuStart
            if (number % BURST == 0) Thread.sleep(1) // an app does not call without end
        }
        tell("time", wall)
        tell("CPU time", cpu) // on a machine that has more to do, the one to look at
        client.close()
    }

    private fun tell(what: String, nanos: LongArray) {
        nanos.sort()
        fun percentile(share: Double) = nanos[(CALLS * share).toInt()] / 1_000.0
        println("track through Kotlin, %s in µs: p50 %.1f, p99 %.1f, p99.9 %.1f (%d calls)".format(what, percentile(0.5), percentile(0.99), percentile(0.999), CALLS))
    }

    private fun call(client: Wakeline, number: Int) {
        client.track("newsletter", "place" to "footer", "number" to number, "price" to 12.5, "member" to true)
    }

    private companion object {
        const val WARM_UP = 20_000
        const val CALLS = 50_000
        const val BURST = 50
    }
}

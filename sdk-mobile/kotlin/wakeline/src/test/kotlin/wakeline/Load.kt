@file:JvmName("Load")

package wakeline

import kotlinx.coroutines.runBlocking
import java.io.File
import kotlin.system.exitProcess
import kotlin.time.Duration.Companion.seconds

/**
 * A process that records until it is killed, and says what it recorded as soon as the call returned; `drain FOLDER`
 * sends what it left behind. Twenty events have a name in common, and each fiftieth is an order.
 */
internal fun main(arguments: Array<String>) {
    val (mode, folder) = arguments
    val client = client(File(folder))
    if (mode == "drain") {
        val sent = runBlocking { client.flush(60.seconds) }
        println("${client.status()}")
        client.close()
        exitProcess(if (sent) 0 else 1)
    }
    for (number in generateSequence(0) { it + 1 }) {
        if (number % 50 == 49) {
            client.order(Order("load-$number", "EUR", 100, listOf(Item("A", 100))))
            println("order $number")
        } else {
            client.track("load-${number / 20}")
            println("event $number")
        }
        Thread.sleep(1) // some hundred a second: more than an app records, less than fills the queue
    }
}

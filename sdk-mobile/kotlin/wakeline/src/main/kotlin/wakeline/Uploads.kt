package wakeline

import wakeline.ffi.CoreInterface
import wakeline.ffi.Task
import java.nio.Buffer
import java.nio.ByteBuffer

/**
 * Does what the core asks for, on a thread of its own, until the core is shut down.
 *
 * A plain thread and not a coroutine: the core's call waits in native code, and would keep a thread of a shared pool.
 */
internal class Uploads(private val core: CoreInterface, private val transport: Transport) {
    init {
        Thread(::run, "wakeline-uploads").apply {
            isDaemon = true
            start()
        }
    }

    private fun run() {
        while (true) {
            try {
                when (val task = core.nextTask(WAITS_MS)) {
                    is Task.Send -> send(task)
                    Task.Wait -> {}
                    Task.Stop -> return
                }
            } catch (_: Exception) {
                Thread.sleep(AFTER_A_FAILURE_MS) // a broken native call must neither end the app nor spin
            }
        }
    }

    private fun send(task: Task.Send) {
        val request = Request(task.url, task.headers.map { it.name to it.value }, task.body)
        val answer = try {
            transport.post(request)
        } catch (_: Exception) {
            NO_ANSWER // whatever an app's transport throws: the core tries again later
        }
        core.taskDone(task.id, answer.status.toUShort(), answer.retryAfter, direct(answer.body))
    }

    /** The bytes where native code can read them. */
    private fun direct(bytes: ByteArray): ByteBuffer {
        val buffer = ByteBuffer.allocateDirect(maxOf(bytes.size, 1))
        buffer.put(bytes)
        (buffer as Buffer).flip() // as a `ByteBuffer`, old Androids do not have it
        return buffer
    }

    private companion object {
        const val WAITS_MS: ULong = 60_000u
        const val AFTER_A_FAILURE_MS = 1_000L
        val NO_ANSWER = Answer(0)
    }
}

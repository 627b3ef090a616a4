package wakeline

import java.io.IOException
import java.io.InputStream
import java.net.HttpURLConnection
import java.net.URL

/** Makes requests: yours, if the app has an HTTP stack of its own; [UrlConnectionTransport] if it does not say. */
public fun interface Transport {
    /**
     * Posts a request and waits for its answer. Called on a thread of the client's own, one request at a time.
     * Redirects are not to be followed.
     *
     * @throws IOException if no answer came; the request is made again later.
     */
    @Throws(IOException::class)
    public fun post(request: Request): Answer
}

/** What is to be posted. */
public class Request(
    /** Where to. */
    public val url: String,
    /** Names and values. */
    public val headers: List<Pair<String, String>>,
    /** Compressed already. */
    public val body: ByteArray,
)

/** What the collector answered. */
public class Answer(
    /** The HTTP status. */
    public val status: Int,
    /** The header `Retry-After` as it came; empty if there was none. */
    public val retryAfter: String = "",
    /** What came with it. */
    public val body: ByteArray = ByteArray(0),
)

/** The HTTP of the platform, which the JVM and Android both have. */
public class UrlConnectionTransport(
    private val connectTimeoutMs: Int = 10_000,
    private val readTimeoutMs: Int = 30_000,
) : Transport {
    override fun post(request: Request): Answer {
        val connection = URL(request.url).openConnection() as HttpURLConnection
        connection.requestMethod = "POST"
        connection.connectTimeout = connectTimeoutMs
        connection.readTimeout = readTimeoutMs
        connection.instanceFollowRedirects = false
        connection.useCaches = false
        connection.doOutput = true
        for ((name, value) in request.headers) {
            connection.setRequestProperty(name, value)
        }
        connection.outputStream.use { it.write(request.body) }
        val status = connection.responseCode
        val stream: InputStream? = if (status < FIRST_ERROR) connection.inputStream else connection.errorStream
        val body = stream?.use { it.readAtMost(MAX_ANSWER_BYTES) } ?: ByteArray(0)
        return Answer(status, connection.getHeaderField("Retry-After").orEmpty(), body)
    }

    private companion object {
        const val FIRST_ERROR = 400

        /** The collector's answers have a few hundred; whatever else answers may not fill memory. */
        const val MAX_ANSWER_BYTES = 1 shl 20
    }
}

private fun InputStream.readAtMost(limit: Int): ByteArray {
    val bytes = java.io.ByteArrayOutputStream()
    val chunk = ByteArray(8 shl 10)
    while (bytes.size() < limit) {
        val count = read(chunk, 0, minOf(chunk.size, limit - bytes.size()))
        if (count < 0) break
        bytes.write(chunk, 0, count)
    }
    return bytes.toByteArray()
}

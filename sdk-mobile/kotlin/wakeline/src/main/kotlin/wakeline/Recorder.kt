package wakeline

import com.sun.jna.Native
import com.sun.jna.Pointer
import wakeline.ffi.Core

/**
 * Records by C's call. A generated call makes three native ones, and a dozen structures of JNA with a cleaner each, which
 * costs several times what recording does.
 *
 * The native call is this object's own, and so keeps it from being collected until it returns; it keeps the core.
 */
internal class Recorder(@Suppress("unused") private val core: Core) {
    private val sdk = Pointer(core.address().toLong())

    /** Takes an event, as JSON, in which a NUL is escaped; false if it was refused. */
    fun record(event: String): Boolean = wakeline_record(sdk, (event + NUL).toByteArray()) != NO

    /** C's `bool` has a byte; Java's, for JNA, four. */
    @Suppress("FunctionName")
    private external fun wakeline_record(sdk: Pointer, event: ByteArray): Byte

    private companion object {
        const val NUL = '\u0000'
        const val NO: Byte = 0

        init {
            // The library that the generated calls are in, by the property with which they can be told another one.
            val library = System.getProperty("uniffi.component.wakeline_mobile.libraryOverride") ?: "wakeline_mobile"
            Native.register(Recorder::class.java, library)
        }
    }
}

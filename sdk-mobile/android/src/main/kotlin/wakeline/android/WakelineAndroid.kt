package wakeline.android

import android.app.Application
import android.content.ComponentCallbacks2
import android.content.res.Configuration
import android.content.res.Configuration.SCREENLAYOUT_SIZE_LARGE
import android.content.res.Configuration.SCREENLAYOUT_SIZE_MASK
import android.net.ConnectivityManager
import android.net.NetworkCapabilities
import android.os.Build
import androidx.lifecycle.DefaultLifecycleObserver
import androidx.lifecycle.LifecycleOwner
import androidx.lifecycle.ProcessLifecycleOwner
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.launch
import wakeline.Form
import wakeline.Network
import wakeline.Settings
import wakeline.Wakeline

/**
 * Opens the client of an app, which then knows the device, and is told when the app is visible, when memory is short, and
 * what network there is. Call it in [Application.onCreate].
 */
public fun Wakeline.Companion.configure(application: Application, settings: Settings.() -> Unit): Wakeline {
    val wakeline = configure {
        device(application)
        settings()
    }
    follow(application, wakeline)
    return wakeline
}

private fun Settings.device(application: Application) {
    val info = application.packageManager.getPackageInfo(application.packageName, 0)
    val configuration = application.resources.configuration
    val large = configuration.screenLayout and SCREENLAYOUT_SIZE_MASK >= SCREENLAYOUT_SIZE_LARGE
    dataDir = application.noBackupFilesDir.resolve("wakeline").path
    appVersion = info.versionName
    os = "Android"
    osVersion = Build.VERSION.RELEASE
    model = "${Build.MANUFACTURER} ${Build.MODEL}"
    form = if (large) Form.Tablet else Form.Mobile
    screenWidth = configuration.screenWidthDp
    screenHeight = configuration.screenHeightDp
}

private fun follow(application: Application, wakeline: Wakeline) {
    val scope = CoroutineScope(SupervisorJob() + Dispatchers.IO)
    ProcessLifecycleOwner.get().lifecycle.addObserver(
        object : DefaultLifecycleObserver {
            override fun onStart(owner: LifecycleOwner) = wakeline.foreground()

            override fun onStop(owner: LifecycleOwner) {
                wakeline.background()
                scope.launch { wakeline.flush() }
            }
        },
    )
    application.registerComponentCallbacks(
        object : ComponentCallbacks2 {
            override fun onTrimMemory(level: Int) = wakeline.lowMemory()

            override fun onConfigurationChanged(configuration: Configuration) = Unit

            @Deprecated("Android's own, still called by old versions")
            override fun onLowMemory() = wakeline.lowMemory()
        },
    )
    val connectivity = application.getSystemService(ConnectivityManager::class.java)
    connectivity.registerDefaultNetworkCallback(
        object : ConnectivityManager.NetworkCallback() {
            override fun onCapabilitiesChanged(network: android.net.Network, capabilities: NetworkCapabilities) {
                val free = capabilities.hasCapability(NetworkCapabilities.NET_CAPABILITY_NOT_METERED)
                wakeline.setNetwork(if (free) Network.Online else Network.Metered)
            }

            override fun onLost(network: android.net.Network) = wakeline.setNetwork(Network.Offline)
        },
    )
}

import Foundation

/// What ``Wakeline/configure(_:)`` is told. `key` and `collector` are needed; what is `nil` is as the core has it.
public struct Settings {
    /// The site's write key.
    public var key = ""

    /// Where the collector is: `https://collector.example`.
    public var collector = ""

    /// A folder of the app's own; the queue and the install id are in it.
    public var dataDir = Settings.folder()

    /// What the person answered already.
    public var consent = Consent.notAsked

    /// Properties of all events.
    public var defaults: Properties = [:]

    /// The app's version.
    public var appVersion = Bundle.main.infoDictionary?["CFBundleShortVersionString"] as? String

    /// The operating system.
    public var os: String? = Settings.system

    /// Its version.
    public var osVersion: String? = Settings.systemVersion()

    /// The device's model.
    public var model: String?

    /// What the device is; unset, a phone where `os` is iOS, else a desktop.
    public var form: Form?

    /// The person's language, as BCP 47 has it.
    public var language = Locale.preferredLanguages.first

    /// The person's time zone: `Europe/Berlin`.
    public var timezone: String? = TimeZone.current.identifier

    /// The screen's width in points.
    public var screenWidth: Int?

    /// The screen's height in points.
    public var screenHeight: Int?

    /// A visit ends after so many minutes without an event; 30 if unset.
    public var sessionGapMinutes: Int?

    /// What is recorded is on disk after so many milliseconds; 500 if unset, at most 1,000. Orders are there at once.
    public var flushIntervalMs: Int?

    /// The queue's size on disk; beyond it, what matters least goes first. 10 MiB if unset.
    public var queueMaxBytes: Int?

    /// Older events are dropped; 30 days if unset.
    public var queueMaxAgeDays: Int?

    /// Events wait so many milliseconds for others, to leave together; 5,000 if unset.
    public var batchWaitMs: Int?

    /// So many events leave at once; 50 if unset.
    public var batchEvents: Int?

    /// How requests are made.
    public var transport: any Transport = URLSessionTransport()

    func json() -> String {
        encoded(Body(settings: self)) ?? ""
    }

    private static func folder() -> String {
        let support = FileManager.default.urls(for: .applicationSupportDirectory, in: .userDomainMask).first
        return (support ?? FileManager.default.temporaryDirectory).appendingPathComponent("wakeline").path
    }

    private static var system: String {
        #if os(iOS)
            "iOS"
        #elseif os(tvOS)
            "tvOS"
        #else
            "macOS"
        #endif
    }

    private static func systemVersion() -> String {
        let version = ProcessInfo.processInfo.operatingSystemVersion
        return "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)"
    }
}

/// The settings as the core takes them; what is `nil` is left out.
private struct Body: Encodable {
    let settings: Settings

    private enum Key: String, CodingKey {
        case key, url, dataDir = "data_dir", sdk, consent, defaults, appVersion = "app_version", os, osVersion = "os_version"
        case model, form, language, timezone, screenWidth = "screen_width", screenHeight = "screen_height"
        case sessionGapMinutes = "session_gap_minutes", flushIntervalMs = "flush_interval_ms"
        case queueMaxBytes = "queue_max_bytes", queueMaxAgeDays = "queue_max_age_days"
        case batchWaitMs = "batch_wait_ms", batchEvents = "batch_events"
    }

    func encode(to encoder: any Encoder) throws {
        var body = encoder.container(keyedBy: Key.self)
        try body.encode(settings.key, forKey: .key)
        try body.encode(settings.collector, forKey: .url)
        try body.encode(settings.dataDir, forKey: .dataDir)
        try body.encode("swift", forKey: .sdk)
        try body.encode(settings.consent.rawValue, forKey: .consent)
        try body.encode(settings.defaults, forKey: .defaults)
        try body.encodeIfPresent(settings.appVersion, forKey: .appVersion)
        try body.encodeIfPresent(settings.os, forKey: .os)
        try body.encodeIfPresent(settings.osVersion, forKey: .osVersion)
        try body.encodeIfPresent(settings.model, forKey: .model)
        try body.encodeIfPresent(settings.form?.rawValue, forKey: .form)
        try body.encodeIfPresent(settings.language, forKey: .language)
        try body.encodeIfPresent(settings.timezone, forKey: .timezone)
        try body.encodeIfPresent(settings.screenWidth, forKey: .screenWidth)
        try body.encodeIfPresent(settings.screenHeight, forKey: .screenHeight)
        try body.encodeIfPresent(settings.sessionGapMinutes, forKey: .sessionGapMinutes)
        try body.encodeIfPresent(settings.flushIntervalMs, forKey: .flushIntervalMs)
        try body.encodeIfPresent(settings.queueMaxBytes, forKey: .queueMaxBytes)
        try body.encodeIfPresent(settings.queueMaxAgeDays, forKey: .queueMaxAgeDays)
        try body.encodeIfPresent(settings.batchWaitMs, forKey: .batchWaitMs)
        try body.encodeIfPresent(settings.batchEvents, forKey: .batchEvents)
    }
}

/// What the person answered. Until it is `granted`, nothing is recorded; `denied` also erases what waits.
public enum Consent: String, Sendable {
    /// The site does not ask.
    case notAsked = "none"
    /// The person was asked and has not answered.
    case pending
    /// The person agreed.
    case granted
    /// The person refused: nothing is recorded.
    case denied
}

/// What a device is.
public enum Form: String, Sendable {
    case mobile, tablet, desktop, tv
}

/// What network there is.
public enum Network: String, Sendable {
    /// One that costs nothing.
    case online
    /// One that is paid by the byte: uploads are fewer.
    case metered
    /// None: nothing is tried.
    case offline
}

/// Where a swipe goes.
public enum Direction: String, Sendable {
    case left, right, up, down
}

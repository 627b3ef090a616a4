import Foundation
import WakelineCore

/// The client of Wakeline, first-party clickstream analytics.
///
/// ```swift
/// let wakeline = try Wakeline.configure {
///     $0.key = "YOUR-WRITE-KEY"
///     $0.collector = "https://YOUR-COLLECTOR"
/// }
/// wakeline.track("newsletter", ["place": "footer", "discount": 10])
/// ```
///
/// All calls may come from any thread or task. After ``configure(_:)`` none throws but ``reconfigure(key:collector:)``, and none waits for a network; calls that
/// record say `true` if the event was taken: it is on disk within half a second and leaves as soon as it can. What can't be
/// an event is refused, counted in ``status()``, and told to the collector. Money is in minor units (cents).
public final class Wakeline: Sendable {
    private let core: Core
    private let uploads: Uploads

    private init(core: Core, transport: any Transport) {
        self.core = core
        uploads = Uploads(core: core, transport: transport)
        uploads.start()
    }

    deinit {
        _ = core.shutdown(timeoutMs: Self.closesMs)
    }

    /// Opens the client: call it once, when the app starts.
    ///
    /// - Throws: `ConfigError` if a setting can't be right; its message says which, and what to do.
    public static func configure(_ change: (inout Settings) -> Void) throws -> Wakeline {
        var settings = Settings()
        change(&settings)
        return Wakeline(core: try Core.open(settings: settings.json()), transport: settings.transport)
    }

    /// Records an event of your own.
    @discardableResult
    public func track(_ name: String, _ properties: Properties = [:]) -> Bool {
        record(Event(type: "custom", name: name, properties: properties))
    }

    /// Records that a screen is shown; later events are of this screen.
    @discardableResult
    public func screen(_ name: String, _ properties: Properties = [:]) -> Bool {
        record(Event(type: "screen_view", url: name, properties: properties))
    }

    /// Records a tap on what has this name.
    @discardableResult
    public func tap(_ name: String, _ properties: Properties = [:]) -> Bool {
        record(Event(type: "click", name: name, properties: properties))
    }

    /// Records a swipe in a direction.
    @discardableResult
    public func swipe(_ direction: Direction, _ properties: Properties = [:]) -> Bool {
        var properties = properties
        properties["direction"] = .text(direction.rawValue)
        return record(Event(type: "swipe", properties: properties))
    }

    /// Records how far the screen was scrolled, in percent.
    @discardableResult
    public func scroll(_ percent: Int) -> Bool {
        record(Event(type: "scroll", properties: ["percent": .integer(Int64(percent))]))
    }

    /// Records that a product is looked at.
    @discardableResult
    public func productView(_ product: Product) -> Bool {
        record(Event(type: "product_view", properties: product.properties))
    }

    /// Records what the cart has now.
    @discardableResult
    public func cart(_ cart: Cart) -> Bool {
        record(Event(type: "cart", order: OrderBody(cart)))
    }

    /// Records that a checkout began.
    @discardableResult
    public func checkout(_ cart: Cart) -> Bool {
        record(Event(type: "checkout", order: OrderBody(cart)))
    }

    /// Records an order; it is on disk when the call returns.
    @discardableResult
    public func order(_ order: Order) -> Bool {
        record(Event(type: "order", order: OrderBody(order)))
    }

    /// Records which variant of an experiment is shown.
    @discardableResult
    public func exposure(experiment: String, variant: String) -> Bool {
        record(Event(type: "exposure", exposure: Exposure(experiment: experiment, variant: variant)))
    }

    /// Starts a clock: the next event of this name gets the property `duration_ms`.
    public func startTimer(_ name: String) {
        core.startTimer(name: name)
    }

    /// Records an event with the time that the block took as `duration_ms`.
    public func timed<T>(_ name: String, _ properties: Properties = [:], block: () throws -> T) rethrows -> T {
        let start = DispatchTime.now().uptimeNanoseconds
        defer {
            var properties = properties
            properties["duration_ms"] = .integer(Int64((DispatchTime.now().uptimeNanoseconds - start) / 1_000_000))
            track(name, properties)
        }
        return try block()
    }

    /// Says who is signed in, for this and later events.
    @discardableResult
    public func identify(_ user: String) -> Bool {
        core.identify(user: user)
    }

    /// Says that nobody is signed in any more: later events are of a new visitor.
    public func reset() {
        core.reset()
    }

    /// Sets the properties that all later events have; an event's own win.
    public func setDefaults(_ properties: Properties) {
        core.setDefaults(properties: encoded(properties) ?? "")
    }

    /// Says what the person answered.
    public func setConsent(_ consent: Consent) {
        core.setConsent(consent: consent.rawValue)
    }

    /// Says that the app is visible.
    public func foreground() {
        core.lifecycle(state: "foreground")
    }

    /// Says that the app is not visible any more: what waits is written and sent.
    public func background() {
        core.lifecycle(state: "background")
    }

    /// Says that memory is short: what can be on disk only leaves memory.
    public func lowMemory() {
        core.lifecycle(state: "low_memory")
    }

    /// Says what network there is.
    public func setNetwork(_ network: Network) {
        core.network(state: network.rawValue)
    }

    /// Says that a link opened the app: its `utm_` parameters are the visit's campaign.
    public func openLink(_ url: URL) {
        core.openLink(url: url.absoluteString)
    }

    /// Says that a push notification opened the app.
    public func openPush(_ campaign: String = "") {
        core.openPush(campaign: campaign)
    }

    /// Sends all that waits, and waits until it is answered.
    ///
    /// - Returns: `false` if something still waits after `timeout` seconds, or the task was cancelled; it is sent later.
    public func flush(timeout: TimeInterval = 10) async -> Bool {
        core.flush()
        let end = Date(timeIntervalSinceNow: timeout)
        while status().queued > 0 {
            if Date() > end { return false }
            do {
                try await _Concurrency.Task.sleep(nanoseconds: Self.looksAgainNs)
            } catch {
                return false
            }
        }
        return true
    }

    /// Waits until all that was recorded is on disk.
    ///
    /// - Returns: `false` if it is not, after `timeout` seconds or since the disk can't be written.
    public func sync(timeout: TimeInterval = 5) async -> Bool {
        let core = self.core
        return await withCheckedContinuation { done in
            // Not on a thread of Swift's pool, which must not wait.
            DispatchQueue.global(qos: .utility).async {
                done.resume(returning: core.sync(timeoutMs: UInt64(max(0, timeout) * 1_000)))
            }
        }
    }

    /// What became of all that was recorded.
    public func status() -> Status {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return (try? decoder.decode(Status.self, from: Data(core.status().utf8))) ?? Status()
    }

    /// Takes another key or collector, and sends again what was kept.
    ///
    /// - Throws: `ConfigError` if one of them can't be right; the old ones stay.
    public func reconfigure(key: String? = nil, collector: String? = nil) throws {
        var settings: [String: String] = [:]
        settings["key"] = key
        settings["url"] = collector
        try core.reconfigure(settings: encoded(settings) ?? "")
    }

    /// Erases queue and identity on this device: later events are of a new visitor.
    public func forget() {
        core.forget()
    }

    /// Writes all that was recorded to disk and ends; what waits is sent at the next start.
    public func close() {
        _ = core.shutdown(timeoutMs: Self.closesMs)
    }

    private func record(_ event: Event) -> Bool {
        // What can't be written as JSON the core refuses and counts.
        core.record(event: encoded(event) ?? "{}")
    }

    private static let looksAgainNs: UInt64 = 20_000_000
    private static let closesMs: UInt64 = 2_000
}

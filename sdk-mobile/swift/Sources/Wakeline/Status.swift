/// What became of all that was recorded since the client was opened.
public struct Status: Sendable, Equatable {
    /// Events that were taken, the SDK's own (`app_open`, engagement, misuse) included.
    public var recorded = 0
    /// Events that wait to be sent.
    public var queued = 0
    /// Events that the collector took.
    public var accepted = 0
    /// Events that the collector refused, by its reasons.
    public var rejected: [String: Int] = [:]
    /// Calls that can't be events, by reasons.
    public var refused: [String: Int] = [:]
    /// Events that were too many, too old, poison or forgotten, by reasons.
    public var dropped: [String: Int] = [:]
    /// Events that an earlier process left.
    public var restored = 0
    /// Events that the disk had lost.
    public var corrupt = 0
    /// Properties and texts that were mended or left out, by problems.
    public var misuse: [String: Int] = [:]
    /// `disk`, or `memory` while the disk can't be written: `storageError` says why.
    public var storage = ""
    /// Why the queue is in memory; empty if it is not.
    public var storageError = ""
    /// 401 or 403 while the collector refuses the key: everything is kept, and ``Wakeline/reconfigure(key:collector:)`` goes
    /// on; else 0.
    public var stopped = 0
    /// The visitor's id on this device.
    public var install = ""
}

extension Status: Decodable {}

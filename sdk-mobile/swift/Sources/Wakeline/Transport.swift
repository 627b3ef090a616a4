import Foundation
import WakelineCore

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Makes requests: yours, if the app has an HTTP stack of its own; ``URLSessionTransport`` if it does not say.
public protocol Transport: Sendable {
    /// Posts a request and waits for its answer; one request at a time. Redirects are not to be followed.
    ///
    /// - Throws: anything, if no answer came; the request is made again later.
    func post(_ request: Request) async throws -> Answer
}

/// What is to be posted; the body is compressed already.
public struct Request: Sendable {
    public let url: String
    public let headers: [(name: String, value: String)]
    public let body: Data
}

/// What the collector answered; `retryAfter` is that header as it came, empty if there was none.
public struct Answer: Sendable {
    public var status: UInt16
    public var retryAfter: String
    public var body: Data

    public init(status: UInt16, retryAfter: String = "", body: Data = Data()) {
        self.status = status
        self.retryAfter = retryAfter
        self.body = body
    }
}

/// The HTTP of the platform.
public final class URLSessionTransport: NSObject, Transport, URLSessionTaskDelegate {
    public func post(_ request: Request) async throws -> Answer {
        guard let url = URL(string: request.url) else { throw URLError(.badURL) }
        var post = URLRequest(url: url, cachePolicy: .reloadIgnoringLocalCacheData, timeoutInterval: 30)
        post.httpMethod = "POST"
        post.httpBody = request.body
        for header in request.headers {
            post.setValue(header.value, forHTTPHeaderField: header.name)
        }
        let (body, response) = try await URLSession.shared.data(for: post, delegate: self)
        guard let response = response as? HTTPURLResponse else { throw URLError(.badServerResponse) }
        let retryAfter = response.value(forHTTPHeaderField: "Retry-After") ?? ""
        return Answer(status: UInt16(clamping: response.statusCode), retryAfter: retryAfter, body: body)
    }

    public func urlSession(
        _ session: URLSession,
        task: URLSessionTask,
        willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest
    ) async -> URLRequest? {
        nil
    }
}

/// Does what the core asks for, on a thread of its own, until the core is shut down: the core's call waits, which no thread
/// of Swift's pool may.
final class Uploads: Sendable {
    private let core: Core
    private let transport: any Transport

    init(core: Core, transport: any Transport) {
        self.core = core
        self.transport = transport
    }

    func start() {
        let (core, transport) = (self.core, self.transport)
        let thread = Thread { Self.run(core: core, transport: transport) }
        thread.name = "wakeline-uploads"
        thread.qualityOfService = .utility
        thread.start()
    }

    private static func run(core: Core, transport: any Transport) {
        while true {
            switch core.nextTask(waitMs: waitsMs) {
            case .send(let id, let url, let headers, let body):
                let request = Request(url: url, headers: headers.map { ($0.name, $0.value) }, body: body)
                let answer = wait { (try? await transport.post(request)) ?? Answer(status: 0) }
                core.taskDone(id: id, status: answer.status, retryAfter: answer.retryAfter, body: answer.body)
            case .wait:
                continue
            case .stop:
                return
            }
        }
    }

    /// Waits for a task, on this thread.
    private static func wait(_ task: @escaping @Sendable () async -> Answer) -> Answer {
        let box = Box()
        let done = DispatchSemaphore(value: 0)
        _Concurrency.Task.detached(priority: .utility) {
            box.answer = await task()
            done.signal()
        }
        done.wait()
        return box.answer
    }

    /// Written before the semaphore is signalled and read after it was waited for.
    private final class Box: @unchecked Sendable {
        var answer = Answer(status: 0)
    }

    private static let waitsMs: UInt64 = 60_000
}

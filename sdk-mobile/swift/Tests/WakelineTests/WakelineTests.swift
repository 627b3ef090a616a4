import XCTest

@testable import Wakeline

/// Against a real collector: start `cargo run --release` and set WAKELINE_COLLECTOR and WAKELINE_KEY.
final class WakelineTests: XCTestCase {
    private func client(_ change: (inout Settings) -> Void = { _ in }) throws -> Wakeline {
        let environment = ProcessInfo.processInfo.environment
        let key = try XCTUnwrap(environment["WAKELINE_KEY"], "start the demo and set WAKELINE_KEY")
        let collector = try XCTUnwrap(environment["WAKELINE_COLLECTOR"], "start the demo and set WAKELINE_COLLECTOR")
        return try Wakeline.configure {
            $0.key = key
            $0.collector = collector
            $0.dataDir = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
            change(&$0)
        }
    }

    private func arrives(_ client: Wakeline) async -> Status {
        let sent = await client.flush(timeout: 30)
        let status = client.status()
        XCTAssertTrue(sent, "\(status)")
        XCTAssertEqual(status.accepted + status.rejected.values.reduce(0, +), status.recorded + status.restored)
        client.close()
        return status
    }

    func testEveryCallReachesTheCollector() async throws {
        let client = try client { $0.defaults = ["shop": "north"] }
        client.foreground()
        XCTAssertTrue(client.identify("customer-17"))
        XCTAssertTrue(client.screen("home", ["theme": "dark"]))
        XCTAssertTrue(client.track("search", ["term": "mug", "results": 3, "price": 1.5, "member": true, "at": .time(Date())]))
        XCTAssertTrue(client.tap("buy"))
        XCTAssertTrue(client.swipe(.left))
        XCTAssertTrue(client.scroll(80))
        XCTAssertTrue(client.productView(Product(sku: "AL-101", name: "Harbour mug", price: 1_800, currency: "EUR")))
        let items = [Item(sku: "AL-101", price: 1_800, quantity: 2, name: "Harbour mug")]
        XCTAssertTrue(client.cart(Cart(currency: "EUR", value: 3_600, items: items)))
        XCTAssertTrue(client.checkout(Cart(currency: "EUR", value: 3_600, items: items)))
        XCTAssertTrue(client.order(Order(id: UUID().uuidString, currency: "EUR", value: 3_600, items: items)))
        XCTAssertTrue(client.exposure(experiment: "banner", variant: "red"))
        XCTAssertEqual(client.timed("answer") { 2 + 2 }, 4)
        let status = await arrives(client)
        XCTAssertEqual(status.rejected, [:])
        XCTAssertEqual(status.refused, [:])
        XCTAssertEqual(status.misuse, [:])
    }

    func testNothingThatAnAppPassesBreaksIt() async throws {
        let client = try client()
        XCTAssertTrue(client.track("numbers", ["nan": .number(.nan), "infinite": .number(-.infinity)]))
        XCTAssertTrue(client.track("texts", ["emoji": "🫖", "nul": "a\0b", "long": .text(String(repeating: "x", count: 1 << 16))]))
        XCTAssertTrue(client.track("times", ["never": .time(Date(timeIntervalSince1970: .infinity))]))
        XCTAssertFalse(client.track(""))
        let status = await arrives(client)
        XCTAssertEqual(status.rejected, status.refused)
        XCTAssertFalse(status.misuse.isEmpty)
    }

    func testSettingsThatCanNotBeRightThrow() {
        XCTAssertThrowsError(try client { $0.collector = "shop" })
    }

    func testManyTasksRecordAtOnce() async throws {
        let client = try client()
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<64 {
                group.addTask {
                    for n in 0..<50 { client.track("tasks", ["task": .integer(Int64(task)), "n": .integer(Int64(n))]) }
                }
            }
        }
        let status = await arrives(client)
        XCTAssertEqual(status.recorded, 64 * 50)
    }

    func testWhatWaitsWhenTheAppEndsIsSentByTheNextStart() async throws {
        struct Cut: Transport {
            func post(_ request: Request) async throws -> Answer { throw URLError(.notConnectedToInternet) }
        }
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
        let before = try client {
            $0.dataDir = folder
            $0.transport = Cut()
        }
        for n in 0..<50 { before.track("before", ["n": .integer(n)]) }
        before.close()
        let after = try client { $0.dataDir = folder }
        let status = await arrives(after)
        XCTAssertEqual(status.restored, 50)
    }
}

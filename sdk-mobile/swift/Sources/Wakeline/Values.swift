import Foundation

/// Names and values that describe an event.
public typealias Properties = [String: Value]

/// A value of a property. Literals need no case: `["place": "footer", "discount": 10, "member": true]`.
public enum Value: Sendable, Equatable {
    case text(String)
    case integer(Int64)
    case number(Double)
    case flag(Bool)
    case time(Date)
}

extension Value: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral {
    public init(stringLiteral value: String) { self = .text(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(booleanLiteral value: Bool) { self = .flag(value) }
}

extension Value: Encodable {
    private enum Key: String, CodingKey { case timestamp }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .text(let text):
            var value = encoder.singleValueContainer()
            try value.encode(text)
        case .integer(let integer):
            var value = encoder.singleValueContainer()
            try value.encode(integer)
        case .number(let number):
            var value = encoder.singleValueContainer()
            // JSON has no NaN; the core leaves the property out and counts it.
            if number.isFinite { try value.encode(number) } else { try value.encodeNil() }
        case .flag(let flag):
            var value = encoder.singleValueContainer()
            try value.encode(flag)
        case .time(let date):
            let ms = date.timeIntervalSince1970 * 1_000
            if let ms = Int64(exactly: ms.rounded()) {
                var value = encoder.container(keyedBy: Key.self)
                try value.encode(ms, forKey: .timestamp)
            } else {
                var value = encoder.singleValueContainer()
                try value.encodeNil()
            }
        }
    }
}

/// An event as the core takes it.
struct Event: Encodable {
    let type: String
    var name: String?
    var url: String?
    var properties: Properties?
    var order: OrderBody?
    var exposure: Exposure?
}

struct Exposure: Encodable {
    let experiment: String
    let variant: String
}

func encoded(_ value: some Encodable) -> String? {
    (try? JSONEncoder().encode(value)).map { String(decoding: $0, as: UTF8.self) }
}

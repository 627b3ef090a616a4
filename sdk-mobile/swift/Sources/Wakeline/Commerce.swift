/// A product that is looked at. Money is in minor units (cents), currencies are ISO 4217, upper case.
public struct Product: Sendable, Equatable {
    public var sku: String
    public var name: String?
    public var price: Int64?
    public var currency: String?

    public init(sku: String, name: String? = nil, price: Int64? = nil, currency: String? = nil) {
        self.sku = sku
        self.name = name
        self.price = price
        self.currency = currency
    }

    var properties: Properties {
        var properties: Properties = ["sku": .text(sku)]
        properties["name"] = name.map(Value.text)
        properties["price"] = price.map(Value.integer)
        properties["currency"] = currency.map(Value.text)
        return properties
    }
}

/// A line of a cart or an order; `price` is that of one piece, in minor units (cents).
public struct Item: Sendable, Equatable, Encodable {
    public var sku: String
    public var name: String?
    public var price: Int64
    public var quantity: Int64

    public init(sku: String, price: Int64, quantity: Int64 = 1, name: String? = nil) {
        self.sku = sku
        self.name = name
        self.price = price
        self.quantity = quantity
    }
}

/// What is in a cart; `value` is its total in minor units (cents).
public struct Cart: Sendable, Equatable {
    public var id: String?
    public var currency: String
    public var value: Int64
    public var items: [Item]

    public init(currency: String, value: Int64, items: [Item], id: String? = nil) {
        self.id = id
        self.currency = currency
        self.value = value
        self.items = items
    }
}

/// An order that was placed; by its `id` it counts once, however often it is recorded. `value` is its total in minor
/// units (cents).
public struct Order: Sendable, Equatable {
    public var id: String
    public var currency: String
    public var value: Int64
    public var items: [Item]

    public init(id: String, currency: String, value: Int64, items: [Item]) {
        self.id = id
        self.currency = currency
        self.value = value
        self.items = items
    }
}

/// A cart or an order as the core takes it.
struct OrderBody: Encodable {
    let id: String?
    let currency: String
    let value: Int64
    let items: [Item]

    init(_ cart: Cart) {
        id = cart.id
        currency = cart.currency
        value = cart.value
        items = cart.items
    }

    init(_ order: Order) {
        id = order.id
        currency = order.currency
        value = order.value
        items = order.items
    }
}

//! What the shop sells. All of it is invented.

/// A product. Prices are in cents of a euro.
pub(crate) struct Product {
    pub(crate) slug: &'static str,
    pub(crate) sku: &'static str,
    pub(crate) name: &'static str,
    pub(crate) price: i64,
    pub(crate) line: &'static str,
    pub(crate) text: &'static str,
    /// CSS class of the picture's background.
    pub(crate) tone: &'static str,
    /// Inside of an SVG with view box `0 0 200 200`.
    pub(crate) picture: &'static str,
}

/// Every product, in the order of the listing.
pub(crate) const PRODUCTS: [Product; 8] = [
    Product {
        slug: "harbour-mug",
        sku: "AL-101",
        name: "Harbour mug",
        price: 1_800,
        line: "Stoneware, 350 ml",
        text: "Thrown on the wheel and glazed by hand in the grey-blue of a harbour before rain. Heavy enough to stay where you put it.",
        tone: "sea",
        picture: r##"<path d="M52 62h80v62a22 22 0 0 1-22 22H74a22 22 0 0 1-22-22z" fill="#3f6b7d"/><path d="M52 62h80v20H52z" fill="#5f8ea0"/><path d="M132 76h10a20 20 0 0 1 0 40h-10v-12h9a8 8 0 0 0 0-16h-9z" fill="#3f6b7d"/><path d="M76 46c0-8 8-8 8-16M98 46c0-8 8-8 8-16" stroke="#fff" stroke-width="5" fill="none" stroke-linecap="round" opacity=".7"/>"##,
    },
    Product {
        slug: "fen-kettle",
        sku: "AL-102",
        name: "Fen kettle",
        price: 6_400,
        line: "Enamel, 1.2 litres",
        text: "A kettle for the stove or the fire. Its spout pours thin and slow, as coffee wants it.",
        tone: "moss",
        picture: r##"<path d="M56 88a44 44 0 0 1 88 0l8 54H48z" fill="#5d7a4f"/><path d="M48 142h104v10H48z" fill="#455c3a"/><path d="M146 100l30-24 6 8-32 40z" fill="#5d7a4f"/><path d="M64 74a38 38 0 0 1 72 0" stroke="#2f3f28" stroke-width="8" fill="none"/><circle cx="100" cy="42" r="7" fill="#2f3f28"/>"##,
    },
    Product {
        slug: "moor-blanket",
        sku: "AL-103",
        name: "Moor blanket",
        price: 12_900,
        line: "Lambswool, 140 × 180 cm",
        text: "Woven from undyed wool of three flocks, so no two are quite alike. Warm in April, warmer in November.",
        tone: "sand",
        picture: r##"<rect x="40" y="56" width="120" height="92" rx="10" fill="#b98a5a"/><path d="M40 78h120M40 102h120M40 126h120" stroke="#8a6138" stroke-width="6"/><path d="M66 56v92M134 56v92" stroke="#d9b286" stroke-width="6"/><path d="M46 148v14M62 148v14M78 148v14M94 148v14M110 148v14M126 148v14M142 148v14M154 148v14" stroke="#b98a5a" stroke-width="4"/>"##,
    },
    Product {
        slug: "ember-lamp",
        sku: "AL-104",
        name: "Ember lamp",
        price: 8_900,
        line: "Ash and linen, dimmable",
        text: "The light of the last hour of the day, at any hour of the day. Turned from one piece of ash.",
        tone: "dusk",
        picture: r##"<path d="M70 40h60l20 56H50z" fill="#f2c078"/><path d="M70 40h60l6 16H64z" fill="#f8dba8"/><path d="M96 96h8v52h-8z" fill="#7a4b32"/><path d="M68 148h64v10H68z" fill="#5c3724"/><circle cx="100" cy="104" r="9" fill="#fff3d6"/>"##,
    },
    Product {
        slug: "tide-notebook",
        sku: "AL-105",
        name: "Tide notebook",
        price: 1_400,
        line: "Dotted, 192 pages",
        text: "Opens flat, takes ink without a ghost, and has a ribbon for the place you stopped.",
        tone: "sea",
        picture: r##"<rect x="58" y="42" width="88" height="116" rx="6" fill="#2f5061"/><rect x="58" y="42" width="16" height="116" fill="#203945"/><path d="M86 76h46M86 92h46M86 108h30" stroke="#9fc2d0" stroke-width="5" stroke-linecap="round"/><path d="M120 42v70l8-8 8 8V42z" fill="#d9694f"/>"##,
    },
    Product {
        slug: "grove-board",
        sku: "AL-106",
        name: "Grove board",
        price: 3_900,
        line: "Oiled walnut, 38 × 22 cm",
        text: "A board to cut on, and good-looking enough to carry to the table with the bread on it.",
        tone: "sand",
        picture: r##"<rect x="44" y="70" width="100" height="66" rx="14" fill="#7b5234"/><rect x="138" y="92" width="34" height="22" rx="11" fill="#7b5234"/><circle cx="160" cy="103" r="5" fill="#ecdcc4"/><path d="M58 84c24 8 48-6 72 4M58 104c24 8 48-6 72 4M58 122c24 6 40-4 66 2" stroke="#5d3c24" stroke-width="4" fill="none"/>"##,
    },
    Product {
        slug: "rain-jacket",
        sku: "AL-107",
        name: "Rain jacket",
        price: 17_900,
        line: "Waxed cotton, made to mend",
        text: "For walking on when the others turn back. Send it in when it is worn and we wax it again.",
        tone: "moss",
        picture: r##"<path d="M76 46l24 12 24-12 36 28-14 26-12-8v64H66V92l-12 8-14-26z" fill="#c9a227"/><path d="M100 58v98" stroke="#8f7216" stroke-width="5"/><path d="M76 46l24 26 24-26-24 12z" fill="#a5851b"/><path d="M76 116h14M110 116h14" stroke="#8f7216" stroke-width="5"/>"##,
    },
    Product {
        slug: "north-candle",
        sku: "AL-108",
        name: "North candle",
        price: 2_200,
        line: "Beeswax, 40 hours",
        text: "Smells of pine tar and clean smoke. Burns for a week of evenings.",
        tone: "dusk",
        picture: r##"<rect x="68" y="84" width="64" height="70" rx="8" fill="#e9dcc6"/><rect x="68" y="104" width="64" height="32" fill="#b3563f"/><path d="M100 70v14" stroke="#3b2a20" stroke-width="4"/><path d="M100 34c12 14 14 22 14 28a14 14 0 0 1-28 0c0-6 2-14 14-28z" fill="#f2a541"/><path d="M100 50c5 7 6 10 6 13a6 6 0 0 1-12 0c0-3 1-6 6-13z" fill="#fff0c2"/>"##,
    },
];

/// The product of that slug.
pub(crate) fn find(slug: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.slug == slug)
}

/// `1 234` cents as `12.34 €`.
pub(crate) fn euros(cents: i64) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}

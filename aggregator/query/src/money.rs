//! Amounts of money, as answers give them.

use serde_json::{Value, json};

/// Letters of a currency, ISO 4217.
pub(crate) type Currency = [u8; 3];

/// An amount. Those of one answer are of one currency, so they compare as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Money {
    /// In minor units.
    pub(crate) minor: i64,
    /// Which.
    pub(crate) currency: Currency,
}

/// Currencies with another number of decimals than two, as in ISO 4217.
const DECIMALS: [(u32, &[Currency]); 3] = [
    (
        0,
        &[
            *b"BIF", *b"CLP", *b"DJF", *b"GNF", *b"ISK", *b"JPY", *b"KMF", *b"KRW", *b"PYG",
            *b"RWF", *b"UGX", *b"UYI", *b"VND", *b"VUV", *b"XAF", *b"XOF", *b"XPF",
        ],
    ),
    (
        3,
        &[
            *b"BHD", *b"IQD", *b"JOD", *b"KWD", *b"LYD", *b"OMR", *b"TND",
        ],
    ),
    (4, &[*b"CLF", *b"UYW"]),
];

/// Signs that stand before an amount; other currencies stand there by their letters.
const SIGNS: [(Currency, &str); 7] = [
    (*b"USD", "$"),
    (*b"EUR", "€"),
    (*b"GBP", "£"),
    (*b"JPY", "¥"),
    (*b"INR", "₹"),
    (*b"KRW", "₩"),
    (*b"BRL", "R$"),
];

/// The letters as text.
pub(crate) fn code(currency: Currency) -> String {
    currency.map(char::from).iter().collect()
}

/// A currency by its letters; `None` if it has not three.
pub(crate) fn currency(code: &str) -> Option<Currency> {
    code.as_bytes().try_into().ok()
}

fn decimals(currency: Currency) -> u32 {
    let found = DECIMALS.iter().find(|(_, all)| all.contains(&currency));
    found.map_or(2, |(decimals, _)| *decimals)
}

impl Money {
    /// `1,234.50`, of a magnitude without its sign.
    fn digits(minor: u64, decimals: u32) -> String {
        let scale = 10_u64.pow(decimals);
        let whole = (minor / scale).to_string();
        let mut text = String::new();
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        match decimals as usize {
            0 => text,
            width => format!("{text}.{:0width$}", minor % scale),
        }
    }

    /// `1.2K`; below a thousand, as [`digits`](Self::digits).
    fn short(minor: u64, decimals: u32) -> String {
        let whole = minor / 10_u64.pow(decimals);
        let units = [(1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K")];
        let Some((size, unit)) = units.into_iter().find(|(size, _)| whole >= *size) else {
            return Self::digits(minor, decimals);
        };
        let tenths = whole / (size / 10);
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    }
}

impl From<Money> for Value {
    fn from(money: Money) -> Self {
        let decimals = decimals(money.currency);
        let code = code(money.currency);
        let minus = if money.minor < 0 { "-" } else { "" };
        let sign = SIGNS.iter().find(|(known, _)| *known == money.currency);
        let sign = sign.map_or_else(|| format!("{code} "), |(_, sign)| (*sign).to_owned());
        let magnitude = money.minor.unsigned_abs();
        json!({
            "value": money.minor as f64 / 10_f64.powi(decimals as i32),
            "currency": code,
            "short": format!("{minus}{sign}{}", Money::short(magnitude, decimals)),
            "long": format!("{minus}{sign}{}", Money::digits(magnitude, decimals)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Money;

    fn check(minor: i64, currency: [u8; 3], value: f64, short: &str, long: &str) {
        let money = Money { minor, currency };
        let code = super::code(currency);
        let expected = json!({"value": value, "currency": code, "short": short, "long": long});
        assert_eq!(Value::from(money), expected);
    }

    #[test]
    fn amounts_have_the_decimals_and_the_sign_of_their_currency() {
        check(123_450, *b"EUR", 1234.5, "€1.2K", "€1,234.50");
        check(-1_999, *b"USD", -19.99, "-$19.99", "-$19.99");
        check(0, *b"CHF", 0.0, "CHF 0.00", "CHF 0.00");
        check(1_999_999, *b"JPY", 1_999_999.0, "¥1.9M", "¥1,999,999");
        check(1_005, *b"KWD", 1.005, "KWD 1.005", "KWD 1.005");
        check(
            250_000_000_000,
            *b"GBP",
            2.5e9,
            "£2.5B",
            "£2,500,000,000.00",
        );
        check(
            i64::MIN,
            *b"USD",
            -92_233_720_368_547_758.08,
            "-$92233720.3B",
            "-$92,233,720,368,547,758.08",
        );
    }
}

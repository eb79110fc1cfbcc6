//! What a retrieval costs, and how long it takes: by prices that the user gives.

use serde::Deserialize;

/// A price list with explanations, as an example.
pub const EXAMPLE: &str = include_str!("prices.toml");

/// A price list.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// For people, such as `USD`.
    pub currency: String,
    /// The tiers.
    pub tier: Vec<Tier>,
}

/// What one way to bring objects up costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// For each 10^9 bytes.
    pub per_gb: f64,
    /// For each object.
    #[serde(default)]
    pub per_request: f64,
    /// For each 10^9 bytes that go out to the network.
    #[serde(default)]
    pub transfer_per_gb: f64,
    /// How long it takes until they can be read.
    #[serde(default)]
    pub hours: f64,
}

/// A price list that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// Not TOML, or not of this form.
    #[error("{0}")]
    Form(#[from] toml::de::Error),
    /// A number that is no price.
    #[error("tier {tier:?}: {field} is {found}; expected a number from 0 on")]
    Number {
        /// The tier.
        tier: String,
        /// The field.
        field: &'static str,
        /// What stands there.
        found: f64,
    },
}

/// What a retrieval by one tier comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost<'a> {
    /// The tier.
    pub tier: &'a Tier,
    /// All of it.
    pub total: f64,
}

impl Prices {
    /// Reads a price list.
    ///
    /// # Errors
    /// What is no price list.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        let prices: Self = toml::from_str(text)?;
        for tier in &prices.tier {
            let fields = [
                ("per_gb", tier.per_gb),
                ("per_request", tier.per_request),
                ("transfer_per_gb", tier.transfer_per_gb),
                ("hours", tier.hours),
            ];
            for (field, found) in fields {
                if !(0.0..1e12).contains(&found) {
                    let tier = tier.name.clone();
                    return Err(PriceError::Number { tier, field, found });
                }
            }
        }
        Ok(prices)
    }

    /// What so many objects of so many bytes in all cost, by tier.
    #[must_use]
    pub fn costs(&self, objects: u64, bytes: u64) -> Vec<Cost<'_>> {
        #[expect(clippy::cast_precision_loss, reason = "money, for people")]
        let (objects, gigabytes) = (objects as f64, bytes as f64 / 1e9);
        let total = |tier: &Tier| {
            gigabytes * (tier.per_gb + tier.transfer_per_gb) + objects * tier.per_request
        };
        let costs = self.tier.iter().map(|tier| Cost {
            tier,
            total: total(tier),
        });
        costs.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_add_up() {
        let text = "currency = \"USD\"\n[[tier]]\nname = \"bulk\"\nper_gb = 0.5\n\
                    per_request = 0.25\ntransfer_per_gb = 1.5\nhours = 48\n";
        let prices = Prices::parse(text).unwrap();
        let costs = prices.costs(4, 3_000_000_000);
        assert!((costs[0].total - 7.0).abs() < 1e-9);
        assert!(prices.costs(0, 0)[0].total.abs() < 1e-9);
    }

    #[test]
    fn the_example_is_a_price_list() {
        let prices = Prices::parse(EXAMPLE).unwrap();
        let names: Vec<_> = prices.tier.iter().map(|tier| &*tier.name).collect();
        assert!(names.contains(&"deep-archive-bulk"), "{names:?}");
    }

    #[test]
    fn what_is_no_price_list_is_refused() {
        let tier = |line: &str| format!("currency = \"x\"\n[[tier]]\nname = \"a\"\n{line}\n");
        assert!(Prices::parse(&tier("per_gb = 1")).is_ok());
        for text in [
            String::new(),
            tier(""),
            tier("per_gb = -1"),
            tier("per_gb = nan"),
            tier("per_gb = 1e300"),
            tier("per_gb = 1\nper_gigabyte = 1"),
            tier("per_gb = \"1\""),
        ] {
            assert!(Prices::parse(&text).is_err(), "{text}");
        }
    }
}

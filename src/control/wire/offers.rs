//! What an agent offers to be chosen.

use serde::{Deserialize, Serialize};

/// A mode or a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueRow {
    /// Its id.
    pub id: String,
    /// What a person calls it.
    pub name: String,
    /// What it is, where the agent says more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// One thing that can be chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferRow {
    /// What is in use, as far as that is known.
    pub current: Option<String>,
    /// What a person chose for this chat; null leaves it to the configuration and the agent.
    pub chosen: Option<String>,
    /// The values; null until the agent was started once.
    pub available: Option<Vec<ValueRow>>,
}

/// What an agent offers in a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffersRow {
    /// The chat.
    pub chat: String,
    /// The agent.
    pub agent: String,
    /// Its modes.
    pub mode: OfferRow,
    /// Its models.
    pub model: OfferRow,
}

/// A value, or a group of them. Agents send them in several shapes: modes, models, values of an
/// option, groups of those.
#[derive(Deserialize)]
struct Item {
    #[serde(alias = "modelId", alias = "value", default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    options: Vec<Item>,
}

impl Item {
    fn collect(self, into: &mut Vec<ValueRow>) {
        if let Some(id) = self.id {
            let name = self.name.unwrap_or_else(|| id.clone());
            into.push(ValueRow { id, name, description: self.description });
        }
        self.options.into_iter().for_each(|inner| inner.collect(into));
    }
}

/// Reads the values that an agent sent. What is not understood is none.
pub fn offered_values(json: &str) -> Vec<ValueRow> {
    let listed: Vec<Item> = serde_json::from_str(json).unwrap_or_default();
    let mut flat = Vec::new();
    listed.into_iter().for_each(|item| item.collect(&mut flat));
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_every_shape() {
        let m = ValueRow { id: "m".into(), name: "M".into(), description: None };
        let cases = [
            (r#"[{"id":"m","name":"M"}]"#, vec![m.clone()]),
            (r#"[{"modelId":"m","name":"M"}]"#, vec![m.clone()]),
            (r#"[{"value":"m","name":"M"}]"#, vec![m.clone()]),
            (r#"[{"group":"g","name":"G","options":[{"value":"m","name":"M"}]}]"#, vec![m.clone()]),
            (r#"[{"id":"m"}]"#, vec![ValueRow { name: "m".into(), ..m }]),
            ("[]", vec![]),
            ("7", vec![]),
            ("null", vec![]),
        ];
        for (json, expected) in cases {
            assert_eq!(offered_values(json), expected, "{json}");
        }
    }
}

//! `session/set_mode`, `set_model` and `set_config_option`: what the client chooses is chosen for the
//! chat, so it outlives the agent's process, the bridge and the daemon.

use agent_client_protocol_schema::v1::SetSessionConfigOptionResponse;
use serde_json::json;
use serde_json::value::RawValue;

use super::chat::{Chat, Command};
use super::error::{bad_param, from_hob, unknown_session};
use super::offers::Offers;
use super::{Bridge, params};
use crate::control::wire::OffersRow;
use crate::jsonrpc::{RequestId, RpcError};

/// The methods that are answered here.
pub(super) const METHODS: [&str; 3] = ["session/set_mode", "session/set_model", "session/set_config_option"];

/// What a client wants to be used from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// `mode` or `model`: also the id of the configuration option.
    what: &'static str,
    value: String,
    /// The answer lists every option.
    lists_options: bool,
}

impl Wish {
    /// Reads a call, and which session it is for.
    fn read(method: &str, raw: Option<&RawValue>) -> Result<(String, Self), RpcError> {
        match method {
            "session/set_mode" => {
                let params: params::SetMode = params::read(raw)?;
                let wish = Self { what: "mode", value: params.mode_id, lists_options: false };
                Ok((params.session_id, wish))
            }
            "session/set_model" => {
                let params: params::SetModel = params::read(raw)?;
                let wish = Self { what: "model", value: params.model_id, lists_options: false };
                Ok((params.session_id, wish))
            }
            _ => {
                let params: params::SetOption = params::read(raw)?;
                let known = ["mode", "model"].into_iter().find(|known| *known == params.config_id);
                let what = known.ok_or_else(|| {
                    let message = format!("`{}` is none: there are `mode` and `model`", params.config_id);
                    bad_param("configId", &message)
                })?;
                Ok((params.session_id, Self { what, value: params.value, lists_options: true }))
            }
        }
    }
}

impl Bridge {
    /// Passes a choice on to its chat, in the order in which it came.
    pub(super) fn choose(
        &self,
        id: &RequestId,
        method: &str,
        raw: Option<&RawValue>,
    ) -> Result<(), RpcError> {
        let (session, wish) = Wish::read(method, raw)?;
        let unknown = || unknown_session(&session);
        let chat = self.chat(&session).ok_or_else(unknown)?;
        chat.send(Command::Choose(id.clone(), wish)).map_err(|_| unknown())
    }
}

impl Chat {
    /// Chooses, and answers when that holds. Beside everything else: a running agent may take its time.
    pub(super) fn choose(&mut self, request: RequestId, wish: Wish) {
        let (editor, door, mut before) =
            (self.editor.clone(), self.door.clone(), std::mem::take(&mut self.choosing));
        let mut params = json!({"chat": self.id, "agent": self.agent});
        params[wish.what] = json!(wish.value);
        self.choosing.spawn(async move {
            // Of two choices the later one holds.
            while before.join_next().await.is_some() {}
            match door.call::<OffersRow>("chat/choose", params).await {
                Err(error) => editor.refuse(&request, from_hob(&error)),
                Ok(row) if wish.lists_options => {
                    let options = Offers::from(&row).options().unwrap_or_default();
                    editor.answer(&request, Ok(&SetSessionConfigOptionResponse::new(options)));
                }
                Ok(_) => editor.answer(&request, Ok(&json!({}))),
            }
        });
    }

    /// Resolves when everything that was chosen is answered.
    pub(super) async fn chosen(&mut self) {
        while self.choosing.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_choose_is_read() {
        let read = |method: &str, params: serde_json::Value| {
            let raw = RawValue::from_string(params.to_string()).unwrap();
            Wish::read(method, Some(&raw)).map_err(|error| error.message)
        };
        let wish = |what, lists_options| Wish { what, value: "v".to_owned(), lists_options };
        let session = || "s".to_owned();
        let cases = [
            (
                "session/set_mode",
                json!({"sessionId": "s", "modeId": "v"}),
                Ok((session(), wish("mode", false))),
            ),
            (
                "session/set_model",
                json!({"sessionId": "s", "modelId": "v"}),
                Ok((session(), wish("model", false))),
            ),
            (
                "session/set_config_option",
                json!({"sessionId": "s", "configId": "model", "value": "v"}),
                Ok((session(), wish("model", true))),
            ),
            (
                "session/set_config_option",
                json!({"sessionId": "s", "configId": "effort", "value": "v"}),
                Err("configId: `effort` is none: there are `mode` and `model`".to_owned()),
            ),
            ("session/set_mode", json!({"sessionId": "s"}), Err("modeId: missing field `modeId`".to_owned())),
        ];
        for (method, params, expected) in cases {
            assert_eq!(read(method, params), expected, "{method}");
        }
    }
}

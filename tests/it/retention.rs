//! Old events go where that is configured: told once before, never of what may still be asked for, and
//! never without a word to who reads behind them.

use serde_json::json;

use crate::support::demo::say;
use crate::support::home::Setup;
use crate::support::wait::until;

const DEMO: &str = "demo";

#[test]
fn nothing_goes_unless_it_is_configured_and_then_not_of_an_open_chat() {
    let daemon = Setup::new().config("[reaper]\ninterval = \"1s\"").start();
    let shown = daemon.hob(&["config", "show"]).ok().stdout;
    assert!(shown.contains("journal.retention = \"off\""), "{shown}");
    let (open, closed) = (daemon.lone_chat(), daemon.lone_chat());
    for chat in [&open, &closed] {
        daemon.ask(chat, DEMO, &say("first"));
        daemon.ask(chat, DEMO, &say("last"));
    }
    let said = |chat: &str| {
        let events = daemon.events(json!({"chat": chat, "types": ["text"]}));
        events.iter().filter_map(|event| event["text"].as_str()).collect::<String>()
    };
    let session = daemon.rpc("chat/show", json!({"chat": closed}))["session"].as_str().unwrap().to_owned();
    daemon.rpc("session/close", json!({"session": session}));
    daemon.write_config(
        "[journal]\nretention = \"1ms\"\n[reaper]\ninterval = \"1s\"\ngrace = \"0s\"\nretention = \"0s\"\n",
    );
    daemon.hob(&["reload"]).ok();
    let told = until("it to be told before anything goes", || {
        let notices = daemon.events(json!({"types": ["notice"]}));
        notices.into_iter().find(|notice| notice.to_string().contains("journal.retention"))
    });
    until("the first turn of the closed chat to go", || (said(&closed) == "last").then_some(()));
    assert_eq!(said(&open), "firstlast", "{told:#}");
    let log = daemon.hob(&["log", &closed]).ok().stdout;
    assert!(!log.contains("first"), "{log}");

    // Whoever reads from a cursor hears that something is missing, and gets all that is left.
    let page = daemon.rpc("events/list", json!({"chat": closed, "after": 1}));
    let kinds: Vec<_> =
        page["events"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds[0], "gap", "{page:#}");
    assert!(kinds.contains(&json!("text")), "{page:#}");
}

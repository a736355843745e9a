//! What is said of wrong parameters, and which ids and limits pass.

use super::*;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("test input is JSON")
}

fn wrong<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> (String, String) {
    let failure = read::<T>(Some(&raw(text))).expect_err("must be refused");
    (failure.data.path.expect("a path"), failure.message)
}

#[test]
fn a_missing_field_is_named() {
    let (path, message) = wrong::<ChatRef>("{}");
    assert_eq!((path.as_str(), message.as_str()), ("chat", "missing field `chat`"));
    assert!(read::<ChatRef>(None).is_err());
}

#[test]
fn a_mistyped_field_is_named_with_what_was_expected() {
    let (path, message) = wrong::<TaskSubmit>(r#"{"prompt": 5}"#);
    assert_eq!(path, "prompt");
    assert!(message.contains("expected a string"), "{message}");
    let (path, _) = wrong::<EventsSubscribe>(r#"{"types": ["text", 7]}"#);
    assert_eq!(path, "types[1]");
}

#[test]
fn an_unknown_field_is_named() {
    let (path, message) = wrong::<TaskSubmit>(r#"{"prompt": "x", "cht": "c-1"}"#);
    assert_eq!(path, "cht");
    assert!(message.starts_with("unknown field `cht`"), "{message}");
}

#[test]
fn an_unknown_word_is_answered_with_the_known_ones() {
    let (path, message) = wrong::<TaskSubmit>(r#"{"prompt": "x", "source": "me"}"#);
    assert_eq!(path, "source");
    assert!(message.contains("new_task"), "{message}");
}

#[test]
fn only_an_object_is_taken() {
    for text in ["[]", "[\"c-1\"]", "null", "3", "\"c-1\""] {
        let (path, message) = wrong::<ChatRef>(text);
        assert_eq!((path.as_str(), message.as_str()), ("", "params must be an object"), "{text}");
    }
}

#[test]
fn hello_takes_what_it_does_not_know() {
    let hello: Hello = read(Some(&raw(r#"{"client": "x", "protocol": 1, "colour": true}"#))).expect("taken");
    assert_eq!(hello, Hello { client: "x".into(), protocol: 1 });
}

#[test]
fn ids_of_clients_are_held_to_the_contract() {
    for good in ["a", "0", "tab:1.x_Y-z", &"a".repeat(128)] {
        assert_eq!(check_new_id("id", good), Ok(()), "{good}");
    }
    for bad in ["", ".a", "-a", "_a", ":a", "a/b", "a b", "ä", "a\n", &"a".repeat(129)] {
        let failure = check_new_id("id", bad).expect_err(bad);
        assert_eq!(failure.data.path.as_deref(), Some("id"));
    }
}

#[test]
fn a_limit_over_the_maximum_is_clamped() {
    assert_eq!(clamp_limit(Some(0)).unwrap_err().data.path.as_deref(), Some("limit"));
    let cases = [(None, 200), (Some(1), 1), (Some(7), 7), (Some(1000), 1000), (Some(u64::MAX), 1000)];
    for (asked, given) in cases {
        assert_eq!(clamp_limit(asked).expect("a limit"), given);
    }
}

#[test]
fn absent_options_are_not_written_by_clients() {
    let params = TaskSubmit { prompt: "x".into(), chat: Some("c-1".into()), ..TaskSubmit::default() };
    let text = serde_json::to_string(&params).expect("JSON");
    assert_eq!(
        text,
        r#"{"prompt":"x","chat":"c-1","new":false,"no_wait":false,"no_retry":false,"hold":false}"#
    );
    assert_eq!(read::<TaskSubmit>(Some(&raw(&text))).expect("read back"), params);
}

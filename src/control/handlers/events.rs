//! `events/*`: the journal, from a cursor on.

use serde_json::value::RawValue;

use super::{Call, Done, chats, sessions, tasks};
use crate::control::audience::{Seat, View};
use crate::control::delegation;
use crate::control::error::{RpcFailure, shorten};
use crate::control::params::{EventsList, EventsSubscribe, EventsUnsubscribe, clamp_limit};
use crate::control::subscribe::{Subscription, gap};
use crate::control::wire::{Empty, EventsReply, SubscribeReply};
use crate::store::{EVENT_TYPES, EventFilter, EventPage};

/// The most types that one call may name.
const TYPES_MAX: usize = 64;
/// An answer of `events/list` ends with the event that brings it over this, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// `events/subscribe`
pub(crate) async fn subscribe(call: &Call, params: EventsSubscribe) -> Done<SubscribeReply> {
    let filter = EventFilter {
        chat: params.chat,
        session: params.session,
        task: params.task,
        agent: params.agent,
        types: checked(params.types)?,
    };
    check_agent(call, &filter, params.answers_permissions).await?;
    check_there(call, &filter).await?;
    check_cursor(call, params.after)?;
    let services = &call.server.services;
    let seat = match params.answers_permissions {
        true => {
            let view = view(call, &filter).await?;
            Some(Seat::take(services.audience.clone(), services.store.clone(), view))
        }
        false => None,
    };
    let head = *services.store.head().borrow();
    let id = call.connection.new_subscription();
    let subscription = Subscription {
        id: id.clone(),
        filter,
        cursor: params.after.unwrap_or(head),
        peer: call.connection.peer.clone(),
        longest: call.connection.longest_notification.clone(),
        answered: call.answered.clone(),
        closing: call.server.closing.clone(),
        seat,
    };
    call.connection.subscribe(subscription, services.store.clone())?;
    Ok(SubscribeReply { subscription: id, head })
}

/// `events/unsubscribe`
pub(crate) async fn unsubscribe(call: &Call, params: EventsUnsubscribe) -> Done<Empty> {
    if call.connection.unsubscribe(&params.subscription) {
        return Ok(Empty {});
    }
    Err(RpcFailure::not_found("subscription", &params.subscription))
}

/// `events/list`
pub(crate) async fn list(call: &Call, params: EventsList) -> Done<EventsReply> {
    let filter = EventFilter {
        chat: params.chat,
        session: params.session,
        task: params.task,
        agent: params.agent,
        types: checked(params.types)?,
    };
    check_there(call, &filter).await?;
    let limit = clamp_limit(params.limit)?;
    check_cursor(call, params.after)?;
    let mut page = Page::new(params.after);
    loop {
        let left = limit - page.events.len();
        let read = call.services().store.events(filter.clone(), page.cursor, left).await?;
        let is_at_head = read.scanned_to >= read.head;
        page.take(&read)?;
        if is_at_head || page.events.len() >= limit || page.bytes >= ANSWER_BYTES_MAX {
            let next = (!is_at_head).then_some(page.cursor);
            return Ok(EventsReply { events: page.events, next });
        }
    }
}

/// An answer of `events/list` in the making.
struct Page {
    events: Vec<Box<RawValue>>,
    bytes: usize,
    cursor: i64,
    /// Whether the client named a cursor that could lie before what is kept.
    may_miss: bool,
}

impl Page {
    fn new(after: Option<i64>) -> Self {
        Self { events: Vec::new(), bytes: 0, cursor: after.unwrap_or(0), may_miss: after.is_some() }
    }

    fn take(&mut self, read: &EventPage) -> Done<()> {
        let missing = if self.may_miss { gap(self.cursor, read) } else { None };
        let kept = read.events.iter().map(|event| event.json.to_string());
        for event in missing.into_iter().chain(kept) {
            self.bytes += event.len();
            let event = RawValue::from_string(event);
            self.events.push(event.map_err(|error| RpcFailure::internal(format!("a bad event: {error}")))?);
        }
        self.cursor = self.cursor.max(read.scanned_to);
        Ok(())
    }
}

fn checked(types: Option<Vec<String>>) -> Done<Option<Vec<String>>> {
    match types {
        Some(types) if types.len() > TYPES_MAX => {
            Err(RpcFailure::invalid_params("types", format!("at most {TYPES_MAX} types can be named")))
        }
        Some(types) => match types.iter().find(|kind| !EVENT_TYPES.contains(&kind.as_str())) {
            Some(unknown) => Err(unknown_type(unknown)),
            None => Ok(Some(types)),
        },
        None => Ok(None),
    }
}

fn unknown_type(kind: &str) -> RpcFailure {
    let message = format!("no event has the type `{}`; there are: {}", shorten(kind), EVENT_TYPES.join(" "));
    RpcFailure::invalid_params("types", message)
}

/// A cursor is the number of an event that was. From any other, events would be missed without a word.
fn check_cursor(call: &Call, after: Option<i64>) -> Done<()> {
    let head = *call.services().store.head().borrow();
    match after {
        Some(after) if after < 0 || after > head => {
            let message =
                format!("no event has the number {after}; the newest is {head}, and 0 is before the first");
            Err(RpcFailure::invalid_params("after", message))
        }
        _ => Ok(()),
    }
}

/// What is asked for by its id must be there: a mistyped one would be silent for ever.
async fn check_there(call: &Call, filter: &EventFilter) -> Done<()> {
    if let Some(task) = &filter.task {
        tasks::find(call, task).await?;
    }
    if let Some(chat) = &filter.chat {
        chats::find(call, chat).await?;
    }
    if let Some(session) = &filter.session {
        sessions::check_there(call, session).await?;
    }
    Ok(())
}

/// An agent sees the events of tasks that it made, and answers no questions.
async fn check_agent(call: &Call, filter: &EventFilter, answers_permissions: bool) -> Done<()> {
    if !call.is_agent() {
        return Ok(());
    }
    if answers_permissions {
        return Err(RpcFailure::forbidden("an agent may not answer permission requests"));
    }
    let Some(task) = &filter.task else {
        return Err(RpcFailure::forbidden("an agent may subscribe only to a task of its own making"));
    };
    let (row, _) = delegation::find_own(call, task).await?;
    // Of another chat or session it would see nothing, and learn whether that is there.
    let elsewhere = |asked: &Option<String>, own: &str| asked.as_ref().is_some_and(|asked| asked != own);
    if elsewhere(&filter.chat, &row.chat) || elsewhere(&filter.session, &row.session) {
        return Err(RpcFailure::forbidden(format!("task `{task}` of your making is in another place")));
    }
    Ok(())
}

/// What somebody who can answer looks at.
async fn view(call: &Call, filter: &EventFilter) -> Done<View> {
    let services = call.services();
    if let Some(task) = &filter.task {
        let row = tasks::find(call, task).await?;
        services.audience.learn(&row.chat, &row.session);
        return Ok(View::Chat(row.chat));
    }
    if let Some(chat) = &filter.chat {
        let row = chats::find(call, chat).await?;
        services.audience.learn(&row.id, &row.session);
        return Ok(View::Chat(row.id));
    }
    let Some(session) = &filter.session else {
        return Ok(View::Everything);
    };
    for chat in services.store.chats(Some(session), false).await? {
        services.audience.learn(&chat.id, &chat.session);
    }
    Ok(View::Session(session.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredEvent;

    fn read(seqs: &[i64], oldest_kept: i64) -> EventPage {
        let event = |seq: &i64| StoredEvent { seq: *seq, json: format!(r#"{{"seq":{seq}}}"#).into() };
        let last = seqs.last().copied().unwrap_or(0);
        EventPage { events: seqs.iter().map(event).collect(), scanned_to: last, oldest_kept, head: last }
    }

    fn seqs(page: &Page) -> Vec<&str> {
        page.events.iter().map(|event| event.get()).collect()
    }

    #[test]
    fn a_cursor_that_is_too_old_sees_one_gap_and_then_what_is_kept() {
        let mut page = Page::new(Some(3));
        page.take(&read(&[10, 11], 10)).expect("taken");
        page.take(&read(&[12], 10)).expect("taken");
        assert_eq!(page.events.len(), 4);
        assert!(seqs(&page)[0].contains(r#""type":"gap","from":4,"to":9"#));
        assert_eq!(seqs(&page)[1..], [r#"{"seq":10}"#, r#"{"seq":11}"#, r#"{"seq":12}"#]);
        assert_eq!(page.cursor, 12);
    }

    #[test]
    fn who_names_no_cursor_misses_nothing() {
        let mut page = Page::new(None);
        page.take(&read(&[10], 10)).expect("taken");
        assert_eq!(seqs(&page), [r#"{"seq":10}"#]);
    }
}

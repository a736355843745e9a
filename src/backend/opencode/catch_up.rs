//! What a conversation asks of the server to know where it stands, and what comes of it.

use hob_actors::ports::News;
use tokio::time::Instant;

use super::conversation::{Conversation, DOUBT, Done, SILENCE_MAX};
use super::http::{ANSWER_TIME_MAX, HttpError};
use super::offers::Offers;
use super::questions::Next;
use super::record::{self, Written};
use super::turn::Record;

impl Conversation {
    pub(super) fn read_offers(&mut self) {
        let (client, directory) = (self.server.client.clone(), self.directory.clone());
        self.doing.spawn(async move { Done::Offered(Offers::read(&client, &directory).await.map(Box::new)) });
    }

    pub(super) fn read_record(&mut self) {
        let Some(turn) = self.turn.as_ref().filter(|_| !self.reading) else {
            self.gap &= self.turn.is_some();
            self.outdated |= self.reading;
            return;
        };
        self.reading = true;
        let number = turn.number;
        let (client, session, directory) =
            (self.server.client.clone(), self.session.clone(), self.directory.clone());
        self.doing.spawn(async move {
            let reading = record::read(&client, &session, &directory);
            let read = tokio::time::timeout(ANSWER_TIME_MAX, reading).await;
            Done::Read(number, read.unwrap_or(Err(HttpError::TimedOut(ANSWER_TIME_MAX))).map(Box::new))
        });
    }

    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Aborted => self.aborting = false,
            Done::Told => {}
            Done::Sent(number, Err(error)) if self.is_turn(number) && error.is_not_found() => {
                self.lost(number, format!("opencode does not know the session {} any more", self.session));
            }
            Done::Sent(number, Err(error)) if self.is_turn(number) => {
                self.settle(number, Err(format!("opencode did not take the prompt: {error}")));
            }
            Done::Sent(..) => {}
            Done::Read(number, read) => {
                self.reading = false;
                let outdated = std::mem::take(&mut self.outdated);
                if self.is_turn(number) {
                    self.caught_up(read);
                    self.gap |= outdated;
                }
                // What was read may have been of the turn before.
                if outdated && self.connected {
                    self.read_record();
                }
            }
            Done::Offered(Ok(offers)) => {
                for event in offers.events(&self.choice) {
                    self.tell(News::Said(event));
                }
                self.offers = Some(offers);
            }
            Done::Offered(Err(error)) => tracing::debug!(%error, "what is offered cannot be read"),
        }
    }

    fn is_turn(&self, number: u64) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.number == number)
    }

    /// Puts what was read beside what was heard.
    fn caught_up(&mut self, read: Result<Box<Written>, HttpError>) {
        let Some(turn) = &mut self.turn else { return };
        let written = match read {
            Ok(written) => written,
            Err(error) => {
                tracing::debug!(%error, "what is written down cannot be read just now");
                self.look = Some(Instant::now() + DOUBT);
                return;
            }
        };
        let news = turn.catch_up(&Record { idle: written.idle, messages: &written.messages });
        self.gap = false;
        self.look = Some(Instant::now() + if turn.is_in_doubt() { DOUBT } else { SILENCE_MAX });
        for news in news {
            self.tell(news);
        }
        let open: Vec<String> = written.open_requests();
        for number in self.questions.forget_but(&open) {
            self.tell(News::Withdrew(number));
        }
        let hub = self.server.hub.clone();
        // Children that were made while nobody listened.
        written.children.iter().for_each(|child| hub.learn(child));
        let own = self.session.clone();
        let is_ours = |session: &str| hub.root_of(session).as_deref() == Some(&*own);
        for request in written.permissions.iter().filter(|request| is_ours(&request.session)) {
            let next = self.questions.permission(request);
            self.follow(next.unwrap_or(Next::Nothing));
        }
        for request in written.questions.into_iter().filter(|request| is_ours(&request.session)) {
            let next = self.questions.questions(request);
            self.follow(next.unwrap_or(Next::Nothing));
        }
    }
}

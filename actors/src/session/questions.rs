//! The questions of an agent session: recorded before anybody answers, answered by a rule or by a
//! person, and settled once.

use ractor::{ActorRef, RpcReplyPort};

use super::actor::{Answered, Memory, PermissionReply, Remember, SessionMsg};
use super::permission::{self, Accepted, Facts, Verdict};
use super::turn::Question;
use crate::dispatch::actor::DispatchMsg;
use crate::event::Level;
use crate::id::{PermissionId, TurnId};
use crate::links::tell;
use crate::ports::{Asked, PermissionAsk, TurnRef};

/// How a question is settled, and who waits to hear of it.
struct Answer {
    number: u64,
    /// For the inbox and the journal.
    option: Option<String>,
    /// For the agent.
    told: Option<String>,
    by: String,
    reply: Option<RpcReplyPort<Answered>>,
}

impl Memory {
    pub(super) fn asked(&mut self, me: &ActorRef<SessionMsg>, number: u64, ask: PermissionAsk) {
        let generation = self.machine.job.turn_generation();
        let (Some(turn), Some(card), Some(generation)) = (&self.turn, &self.card, generation) else {
            // Nobody is working: nobody may ask.
            self.reply_to_agent(number, None);
            return;
        };
        if self.cancelling.is_some() || self.looks.is_answered() {
            self.reply_to_agent(number, None);
            return;
        }
        let question = Question {
            number,
            like: ask.like(),
            kind: ask.kind.clone(),
            options: ask.options.clone(),
            since: Self::now(),
        };
        let of = TurnRef {
            turn: turn.id.clone(),
            task: card.task.clone(),
            key: self.args.key.clone(),
            generation,
        };
        let (store, turn, title) = (self.args.ports.store.clone(), of.turn.clone(), ask.title.clone());
        self.asking += 1;
        self.try_persist(
            me,
            move || store.ask_permission(of.clone(), ask.clone()),
            move |recorded| match recorded {
                Ok(asked) => Some(SessionMsg::Recorded(turn, asked, question, title)),
                // The turn ended meanwhile: nobody will answer any more.
                Err(error) => {
                    tracing::debug!(error = error.chain(), "a question came too late");
                    Some(SessionMsg::NotRecorded(question.number))
                }
            },
        );
    }

    /// A question could not be put into the inbox: nobody will answer it.
    pub(super) fn not_recorded(&mut self, me: &ActorRef<SessionMsg>, number: u64) {
        self.reply_to_agent(number, None);
        self.asked_for_good(me);
    }

    /// A question is through the store. Who saw it in the journal may have answered before the
    /// store's word came here.
    pub(super) fn asked_for_good(&mut self, me: &ActorRef<SessionMsg>) {
        self.asking = self.asking.saturating_sub(1);
        for (answer, reply) in std::mem::take(&mut self.early) {
            self.answer(me, answer, reply);
        }
    }

    /// The question is in the inbox: now somebody may answer it.
    pub(super) fn recorded(
        &mut self,
        me: &ActorRef<SessionMsg>,
        of: &TurnId,
        Asked { id, standing }: Asked,
        (question, title): (Question, String),
    ) {
        let cancelled = self.cancelling.is_some() || self.looks.is_answered();
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.id == *of && !cancelled) else {
            // The turn ended, or was cancelled, while the question was being written.
            let by = "cancelled".to_owned();
            let answer = Answer { number: question.number, option: None, told: None, by, reply: None };
            self.resolve(me, id, answer);
            return;
        };
        tracing::debug!(permission = %id, title, "agent asks");
        let settings = self.args.ports.settings.agent(&self.args.key.agent);
        let facts = Facts {
            rules: &settings.permissions,
            task: self.card.as_ref().and_then(|card| card.permissions),
            in_turn: turn.remembered.get(&question.like).copied(),
            in_chat: standing,
            kind: &question.kind,
            watched: self.args.ports.audience.watches(&self.args.key.chat),
            is_delegated: self.card.as_ref().is_some_and(|card| card.is_delegated),
            options: &question.options,
        };
        let verdict = permission::decide(&facts);
        let deadline = settings.permissions.deadline(facts.is_delegated);
        turn.questions.insert(id.clone(), question);
        self.watch(me);
        match verdict {
            Verdict::Ask => {
                self.tell_asking();
                if let Some(deadline) = deadline {
                    self.wait_for_answer(me, id, deadline);
                }
            }
            verdict => self.settle_by_rule(me, &id, (verdict, &title)),
        }
    }

    fn settle_by_rule(
        &mut self,
        me: &ActorRef<SessionMsg>,
        id: &PermissionId,
        (verdict, title): (Verdict, &str),
    ) {
        match verdict {
            Verdict::Ask => {}
            Verdict::Answer { option, by } => {
                self.settle_question(me, id, (option.clone(), option, by), None);
            }
            Verdict::CannotAllow { by } => {
                let text = format!(
                    "not allowed, although a rule says so, because the agent would keep the only yes that it offers: {title}"
                );
                self.notice(Level::Warning, text);
                self.settle_question(me, id, (None, None, by), None);
            }
        }
    }

    fn wait_for_answer(
        &mut self,
        me: &ActorRef<SessionMsg>,
        id: PermissionId,
        deadline: std::time::Duration,
    ) {
        let to = me.clone();
        self.spawn(me, async move {
            tokio::time::sleep(deadline).await;
            to.cast(SessionMsg::Due(id)).ok();
        });
    }

    pub(super) fn answer(
        &mut self,
        me: &ActorRef<SessionMsg>,
        answer: PermissionReply,
        reply: RpcReplyPort<Answered>,
    ) {
        match self.accept(me, &answer) {
            // Answered when it is recorded: who reads the row then finds it settled.
            Ok(Accepted { option, told, .. }) => {
                self.settle_question(me, &answer.permission, (Some(option), told, &answer.by), Some(reply));
            }
            // The question may be on its way from the store, where the journal has it already.
            Err(Answered::Late) if self.asking > 0 => self.early.push((answer, reply)),
            Err(refused) => {
                reply.send(refused).ok();
            }
        }
    }

    /// What an answer comes to. What is to be remembered is on its way to the disk before the
    /// answer is.
    fn accept(&mut self, me: &ActorRef<SessionMsg>, answer: &PermissionReply) -> Result<Accepted, Answered> {
        let turn = self.turn.as_mut().ok_or(Answered::Late)?;
        let question = turn.questions.get(&answer.permission).ok_or(Answered::Late)?;
        let accepted = permission::accept(answer, &question.options)?;
        if let Some((said, remember)) = accepted.standing {
            let kind = question.like.clone();
            turn.remembered.insert(kind.clone(), said);
            if remember == Remember::Chat {
                let (store, key) = (self.args.ports.store.clone(), self.args.key.clone());
                self.persist(me, move || store.remember_answer(key.clone(), kind.clone(), said), |()| None);
            }
        }
        Ok(accepted)
    }

    /// Nobody is left who could answer.
    pub(super) fn audience_left(&mut self, me: &ActorRef<SessionMsg>) {
        let settings = self.args.ports.settings.agent(&self.args.key.agent);
        let is_delegated = self.card.as_ref().is_some_and(|card| card.is_delegated);
        if self.args.ports.audience.watches(&self.args.key.chat)
            || settings.permissions.unattended.waits(is_delegated)
        {
            return;
        }
        let waiting: Vec<_> = self.turn.iter().flat_map(|turn| turn.questions.keys().cloned()).collect();
        for id in waiting {
            self.due(me, &id);
        }
    }

    /// A question that nobody answers is answered by the policy for unattended work.
    pub(super) fn due(&mut self, me: &ActorRef<SessionMsg>, id: &PermissionId) {
        let Some(question) = self.turn.as_ref().and_then(|turn| turn.questions.get(id)) else { return };
        let settings = self.args.ports.settings.agent(&self.args.key.agent);
        let verdict = permission::unattended(&settings.permissions, &question.options);
        self.settle_by_rule(me, id, (verdict, "nobody answered"));
    }

    /// The dispatcher hears whether the turn waits for a person: its slot is free meanwhile.
    fn tell_asking(&self) {
        let (Some(turn), Some(card)) = (&self.turn, &self.card) else { return };
        let waits = !turn.questions.is_empty();
        tell(&self.args.links.dispatcher, DispatchMsg::Asking(card.task.clone(), waits));
    }

    pub(super) fn withdrew(&mut self, me: &ActorRef<SessionMsg>, number: u64) {
        let Some(turn) = &self.turn else { return };
        let found = turn.questions.iter().find(|(_, question)| question.number == number);
        if let Some(id) = found.map(|(id, _)| id.clone()) {
            self.settle_question(me, &id, (None, None, "withdrawn"), None);
        }
    }

    /// Answers every waiting question with "cancelled": no real agent ends its turn before that.
    pub(super) fn dismiss_questions(&mut self, me: &ActorRef<SessionMsg>) {
        let waiting: Vec<_> = self.turn.iter().flat_map(|turn| turn.questions.keys().cloned()).collect();
        for id in waiting {
            self.settle_question(me, &id, (None, None, "cancelled"), None);
        }
    }

    /// Records the answer, gives it to the agent then, and then tells who answered.
    fn settle_question(
        &mut self,
        me: &ActorRef<SessionMsg>,
        id: &PermissionId,
        (option, told, by): (Option<String>, Option<String>, &str),
        reply: Option<RpcReplyPort<Answered>>,
    ) {
        let now = Self::now();
        let Some(turn) = self.turn.as_mut() else { return };
        let Some(question) = turn.questions.remove(id) else { return };
        turn.refused.note(&question, option.as_deref(), by);
        // The agent goes on from here.
        turn.progress = now;
        self.watch(me);
        self.tell_asking();
        let answer = Answer { number: question.number, option, told, by: by.to_owned(), reply };
        self.resolve(me, id.clone(), answer);
    }

    fn resolve(&mut self, me: &ActorRef<SessionMsg>, id: PermissionId, answer: Answer) {
        let (store, agent) = (self.args.ports.store.clone(), self.agent.clone());
        let Answer { number, option, told, by, reply } = answer;
        self.persist(
            me,
            move || store.resolve_permission(id.clone(), option.clone(), by.clone()),
            move |is_settled_so| {
                // Settled before: its turn was ended meanwhile, and nothing is allowed any more.
                let (told, answered) =
                    if is_settled_so { (told, Answered::Accepted) } else { (None, Answered::Late) };
                if let Some(agent) = agent {
                    agent.answer(number, told);
                }
                if let Some(reply) = reply {
                    reply.send(answered).ok();
                }
                None
            },
        );
    }

    fn reply_to_agent(&self, number: u64, option: Option<String>) {
        if let Some(agent) = &self.agent {
            agent.answer(number, option);
        }
    }
}

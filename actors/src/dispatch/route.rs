//! Decides which backend runs a task: the one that is kept warm, or a run of the program for this
//! prompt alone. Pure.

/// Which kind of backend runs a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Route {
    /// The kept one.
    #[default]
    Warm,
    /// A process for this prompt alone, which remembers nothing.
    Oneshot,
}

impl Route {
    /// The contract's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Oneshot => "oneshot",
        }
    }

    /// The route of that word; what is no word of the contract is the kept one.
    pub fn from_word(word: &str) -> Self {
        if word == Self::Oneshot.word() { Self::Oneshot } else { Self::Warm }
    }
}

/// How the kept backend of an agent stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warm {
    /// It has none.
    None,
    /// It can be tried.
    Ready,
    /// It cannot come up, and why: no program, no protocol that hob speaks.
    Never(String),
}

/// How the one-shot run of an agent stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Oneshot {
    /// There is no command line for it.
    None,
    /// One is known for the agent: used where it is asked for.
    Known,
    /// The person wrote one: used also where the kept one can never come up.
    Configured,
    /// There is a command line, and why its program cannot be run.
    Missing(String),
}

/// What the decision depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// A one-shot run was asked for.
    pub asked: bool,
    /// The kept backend.
    pub warm: Warm,
    /// The one-shot run.
    pub oneshot: Oneshot,
}

/// No backend can run the task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// A one-shot run was asked for, and there is no command line for one.
    #[error("it has no command line for a one-shot run")]
    NoOneshot,
    /// There is nothing at all to run.
    #[error("no command line is configured")]
    Nothing,
    /// The kept backend cannot come up, and why.
    #[error("{0}")]
    Unusable(String),
    /// The program of the one-shot run cannot be run, and why.
    #[error("{0}")]
    OneshotUnusable(String),
}

impl NoRoute {
    /// What to configure.
    pub fn hint(&self, agent: &str) -> String {
        match self {
            Self::NoOneshot => format!("set oneshot = [\"PROGRAM\", \"{{prompt}}\"] in [agents.{agent}]"),
            Self::Nothing | Self::Unusable(_) => format!("set command or oneshot in [agents.{agent}]"),
            Self::OneshotUnusable(_) => format!("set oneshot in [agents.{agent}]"),
        }
    }
}

/// Decides.
///
/// # Errors
/// Why no backend can run it.
pub fn route(facts: &Facts) -> Result<Route, NoRoute> {
    match (facts.asked, &facts.warm, &facts.oneshot) {
        (true, _, Oneshot::Known | Oneshot::Configured) => Ok(Route::Oneshot),
        (true, _, Oneshot::None) => Err(NoRoute::NoOneshot),
        (true, _, Oneshot::Missing(why)) => Err(NoRoute::OneshotUnusable(why.clone())),
        (false, Warm::Ready, _) => Ok(Route::Warm),
        (false, Warm::None | Warm::Never(_), Oneshot::Configured) => Ok(Route::Oneshot),
        (false, Warm::Never(why), _) => Err(NoRoute::Unusable(why.clone())),
        // It is driven one-shot and in no other way: that was asked for in its configuration.
        (false, Warm::None, Oneshot::Known) => Ok(Route::Oneshot),
        (false, Warm::None, Oneshot::Missing(why)) => Err(NoRoute::OneshotUnusable(why.clone())),
        (false, Warm::None, Oneshot::None) => Err(NoRoute::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn never() -> Warm {
        Warm::Never("no ACP".into())
    }

    fn missing() -> Oneshot {
        Oneshot::Missing("not on PATH".into())
    }

    fn unusable(why: &str) -> Result<Route, NoRoute> {
        Err(NoRoute::Unusable(why.into()))
    }

    fn not_there() -> Result<Route, NoRoute> {
        Err(NoRoute::OneshotUnusable("not on PATH".into()))
    }

    #[test]
    fn every_combination_has_its_answer() {
        let table = [
            (false, Warm::Ready, Oneshot::None, Ok(Route::Warm)),
            (false, Warm::Ready, Oneshot::Known, Ok(Route::Warm)),
            (false, Warm::Ready, Oneshot::Configured, Ok(Route::Warm)),
            (false, Warm::Ready, missing(), Ok(Route::Warm)),
            (false, never(), Oneshot::None, unusable("no ACP")),
            (false, never(), Oneshot::Known, unusable("no ACP")),
            (false, never(), Oneshot::Configured, Ok(Route::Oneshot)),
            (false, never(), missing(), unusable("no ACP")),
            (false, Warm::None, Oneshot::None, Err(NoRoute::Nothing)),
            (false, Warm::None, Oneshot::Known, Ok(Route::Oneshot)),
            (false, Warm::None, Oneshot::Configured, Ok(Route::Oneshot)),
            (false, Warm::None, missing(), not_there()),
            (true, Warm::Ready, Oneshot::None, Err(NoRoute::NoOneshot)),
            (true, Warm::Ready, Oneshot::Known, Ok(Route::Oneshot)),
            (true, Warm::Ready, Oneshot::Configured, Ok(Route::Oneshot)),
            (true, Warm::Ready, missing(), not_there()),
            (true, never(), Oneshot::Known, Ok(Route::Oneshot)),
            (true, never(), Oneshot::None, Err(NoRoute::NoOneshot)),
            (true, Warm::None, Oneshot::Known, Ok(Route::Oneshot)),
            (true, Warm::None, Oneshot::None, Err(NoRoute::NoOneshot)),
        ];
        for (asked, warm, oneshot, expected) in table {
            let facts = Facts { asked, warm, oneshot };
            assert_eq!(route(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_configure() {
        assert_eq!(NoRoute::NoOneshot.hint("x"), "set oneshot = [\"PROGRAM\", \"{prompt}\"] in [agents.x]");
        for why in [NoRoute::Nothing, NoRoute::Unusable("no ACP".into())] {
            assert_eq!(why.hint("x"), "set command or oneshot in [agents.x]");
        }
        assert_eq!(NoRoute::OneshotUnusable("not on PATH".into()).hint("x"), "set oneshot in [agents.x]");
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for route in [Route::Warm, Route::Oneshot] {
            assert_eq!(Route::from_word(route.word()), route);
        }
        assert_eq!(Route::from_word("cold"), Route::Warm);
    }

    fn warm() -> impl Strategy<Value = Warm> {
        prop_oneof![Just(Warm::None), Just(Warm::Ready), "[a-z]{1,8}".prop_map(Warm::Never)]
    }

    fn oneshot() -> impl Strategy<Value = Oneshot> {
        prop_oneof![
            Just(Oneshot::None),
            Just(Oneshot::Known),
            Just(Oneshot::Configured),
            "[a-z]{1,8}".prop_map(Oneshot::Missing),
        ]
    }

    proptest! {
        #[test]
        fn a_route_leads_only_to_what_can_run(asked: bool, warm in warm(), oneshot in oneshot()) {
            let facts = Facts { asked, warm: warm.clone(), oneshot: oneshot.clone() };
            let can_run_alone = matches!(oneshot, Oneshot::Known | Oneshot::Configured);
            match route(&facts) {
                Ok(Route::Warm) => prop_assert!(!asked && warm == Warm::Ready),
                Ok(Route::Oneshot) => {
                    prop_assert!(can_run_alone);
                    // Nobody is driven one-shot who could be kept warm, unless that was asked for.
                    prop_assert!(asked || warm != Warm::Ready);
                }
                Err(_) => {
                    prop_assert!(asked || warm != Warm::Ready);
                    prop_assert!(!(asked && can_run_alone) && oneshot != Oneshot::Configured);
                }
            }
        }
    }
}

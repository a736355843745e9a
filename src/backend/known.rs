//! The agents that hob knows without configuration, as a table. Starts nothing and looks nothing
//! up: whether one is installed is found out when it is asked for.

use std::path::Path;

use hob_actors::ports::Tells;

use crate::config::BackendKind;

/// The built-in agent. Its command is this very program, so none is given.
pub const DEMO: &str = "demo";

/// A way to drive an agent that is kept between prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownWay {
    /// What is spoken.
    pub backend: BackendKind,
    /// The command line for that.
    pub command: &'static [&'static str],
}

/// One agent that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownAgent {
    /// The name in prompts and in the configuration.
    pub name: &'static str,
    /// How it is driven unless configured otherwise, the way of today first: the first whose program is
    /// there is taken, and the next where that turns out not to know it.
    pub ways: &'static [KnownWay],
    /// The command line of a one-shot run; empty if none is known. Words with `{model}` are left
    /// out where no model is configured. A prompt may begin with a dash.
    pub oneshot: &'static [&'static str],
    /// Names of variables that are passed on from the daemon's environment, besides those that
    /// every agent gets. An entry that ends in `*` means all that begin so.
    pub pass: &'static [&'static str],
    /// The kinds of tools that it was never seen to ask about, and has no tool for: a rule of such a
    /// kind does nothing. Empty where nobody has looked.
    pub never_asks: &'static [&'static str],
    /// The command that installs it; empty for the built-in one.
    pub install: &'static str,
}

/// The keys and addresses of model providers that a program with many providers looks for.
const PROVIDERS: &[&str] = &[
    "ANTHROPIC_*",
    "AWS_*",
    "AZURE_*",
    "CEREBRAS_API_KEY",
    "COHERE_API_KEY",
    "DATABRICKS_*",
    "DEEPSEEK_API_KEY",
    "GEMINI_*",
    "GITHUB_COPILOT_TOKEN",
    "GOOGLE_*",
    "GROQ_API_KEY",
    "HF_TOKEN",
    "LITELLM_*",
    "MISTRAL_API_KEY",
    "OLLAMA_HOST",
    "OPENAI_*",
    "OPENROUTER_API_KEY",
    "SNOWFLAKE_*",
    "TOGETHER_API_KEY",
    "VENICE_*",
    "VERTEX_*",
    "XAI_API_KEY",
];

const GOOSE_ONESHOT: &[&str] = &[
    "goose",
    "run",
    "--output-format=stream-json",
    "--quiet",
    "--no-session",
    "--model={model}",
    "--text={prompt}",
];
const QWEN_ONESHOT: &[&str] = &[
    "qwen",
    "--output-format=stream-json",
    "--include-partial-messages",
    "--model={model}",
    "--prompt={prompt}",
];
const OPENCODE_ONESHOT: &[&str] =
    &["opencode", "run", "--format=json", "--thinking", "--model={model}", "--", "{prompt}"];
const CLAUDE_ONESHOT: &[&str] = &[
    "claude",
    "--output-format=stream-json",
    "--verbose",
    "--include-partial-messages",
    "--model={model}",
    "-p",
    "--",
    "{prompt}",
];

/// Every known agent, in the order in which a default is looked for.
pub const KNOWN: &[KnownAgent] = &[
    KnownAgent {
        name: "goose",
        ways: &[acp(&["goose", "acp"])],
        oneshot: GOOSE_ONESHOT,
        pass: &["GOOSE_*"],
        never_asks: &["delete", "move", "switch_mode"],
        install: "npm install -g @aaif/goose-binary-linux-x64",
    },
    KnownAgent {
        name: "qwen",
        ways: &[acp(&["qwen", "--acp"])],
        oneshot: QWEN_ONESHOT,
        pass: &["QWEN_*", "DASHSCOPE_*", "BAILIAN_*"],
        never_asks: &["delete", "move", "think"],
        install: "npm install -g @qwen-code/qwen-code",
    },
    KnownAgent {
        name: "opencode",
        // Of 2.x the server answers at other addresses, and ACP is the way that is left.
        ways: &[
            KnownWay { backend: BackendKind::Opencode, command: &["opencode"] },
            acp(&["opencode", "acp"]),
        ],
        oneshot: OPENCODE_ONESHOT,
        pass: &["OPENCODE_*"],
        never_asks: &["delete", "move", "think", "switch_mode"],
        install: "npm install -g opencode-ai@1",
    },
    KnownAgent {
        name: "claude",
        // The package was renamed in 2026.
        ways: &[acp(&["claude-agent-acp"]), acp(&["claude-code-acp"])],
        oneshot: CLAUDE_ONESHOT,
        pass: &["CLAUDE_*"],
        never_asks: &[],
        install: "npm install -g @agentclientprotocol/claude-agent-acp",
    },
    KnownAgent {
        name: "codex",
        ways: &[acp(&["codex-acp"])],
        oneshot: &[],
        pass: &["CODEX_*"],
        never_asks: &[],
        install: "npm install -g @agentclientprotocol/codex-acp",
    },
    KnownAgent {
        name: "gemini",
        // Older ones know the flag under its first name alone.
        ways: &[acp(&["gemini", "--acp"]), acp(&["gemini", "--experimental-acp"])],
        oneshot: &[],
        pass: &[],
        never_asks: &[],
        install: "npm install -g @google/gemini-cli",
    },
    KnownAgent {
        name: DEMO,
        ways: &[acp(&[])],
        oneshot: &[],
        pass: &[],
        // It asks before it runs a command.
        never_asks: &["read", "edit", "delete", "move", "search", "think", "fetch", "switch_mode", "other"],
        install: "",
    },
];

const fn acp(command: &'static [&'static str]) -> KnownWay {
    KnownWay { backend: BackendKind::Acp, command }
}

/// What the programs that were measured tell with the answer to a prompt: the tokens of the turn, or of
/// the conversation so far.
const TELLS: &[(&str, Tells)] = &[
    ("goose", Tells::Turn),
    ("qwen", Tells::Turn),
    ("opencode", Tells::Turn),
    ("copilot", Tells::Total),
    ("vibe-acp", Tells::Total),
];

/// What the numbers of tokens of a program are about.
pub fn tells(command: &[String]) -> Tells {
    let program = command.first().and_then(|program| Path::new(program).file_name()?.to_str());
    let known = TELLS.iter().find(|(name, _)| Some(*name) == program);
    known.map(|(_, tells)| *tells).unwrap_or_default()
}

/// The known agent of that name.
pub fn find(name: &str) -> Option<&'static KnownAgent> {
    KNOWN.iter().find(|agent| agent.name == name)
}

impl KnownAgent {
    /// How it is driven unless configured otherwise.
    pub fn backend(&self) -> BackendKind {
        self.ways.first().map(|way| way.backend).unwrap_or_default()
    }

    /// Everything that is passed on to it: the providers' keys and its own variables. The
    /// built-in agent calls no provider and gets nothing.
    pub fn pass_list(&self) -> impl Iterator<Item = &'static str> {
        let providers = if self.name == DEMO { &[][..] } else { PROVIDERS };
        providers.iter().chain(self.pass).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::oneshot::template;

    #[test]
    fn every_known_agent_is_found_by_its_name_once() {
        for agent in KNOWN {
            assert_eq!(find(agent.name), Some(agent));
            assert_eq!(KNOWN.iter().filter(|other| other.name == agent.name).count(), 1);
        }
    }

    #[test]
    fn every_known_one_shot_run_gets_its_prompt_and_its_model() {
        for agent in KNOWN.iter().filter(|agent| !agent.oneshot.is_empty()) {
            let words: Vec<String> = agent.oneshot.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(template::problem(&words, Some("m")), None, "{}", agent.name);
            // The word goes where there is no model, so it may hold nothing else.
            let about_model = |word: &&String| word.contains(template::MODEL);
            assert_eq!(words.iter().filter(about_model).collect::<Vec<_>>(), ["--model={model}"]);
        }
    }

    #[test]
    fn only_the_built_in_agent_has_no_command_and_no_keys() {
        for agent in KNOWN {
            let has_none = agent.ways.iter().any(|way| way.command.is_empty());
            assert_eq!(has_none, agent.name == DEMO, "{}", agent.name);
            assert_eq!(agent.install.is_empty(), agent.name == DEMO, "{}", agent.name);
            assert!(!agent.ways.is_empty());
            assert_eq!(agent.pass_list().next().is_none(), agent.name == DEMO, "{}", agent.name);
        }
    }
}

//! The agents that hob knows without configuration, as a table. Starts nothing and looks nothing
//! up: whether one is installed is found out when it is asked for.

use crate::config::BackendKind;

/// The built-in agent. Its command is this very program, so none is given.
pub const DEMO: &str = "demo";

/// One agent that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownAgent {
    /// The name in prompts and in the configuration.
    pub name: &'static str,
    /// How it is driven unless configured otherwise.
    pub backend: BackendKind,
    /// The command line for that backend.
    pub command: &'static [&'static str],
    /// The command line that speaks ACP on stdio; the same where `backend` is ACP.
    pub acp_command: &'static [&'static str],
    /// The command line of a one-shot run; empty if none is known. Words with `{model}` are left
    /// out where no model is configured. A prompt may begin with a dash.
    pub oneshot: &'static [&'static str],
    /// Names of variables that are passed on from the daemon's environment, besides those that
    /// every agent gets. An entry that ends in `*` means all that begin so.
    pub pass: &'static [&'static str],
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
    KnownAgent { oneshot: GOOSE_ONESHOT, ..acp("goose", &["goose", "acp"], &["GOOSE_*"]) },
    KnownAgent {
        oneshot: QWEN_ONESHOT,
        ..acp("qwen", &["qwen", "--acp"], &["QWEN_*", "DASHSCOPE_*", "BAILIAN_*"])
    },
    KnownAgent {
        name: "opencode",
        backend: BackendKind::Opencode,
        command: &["opencode"],
        acp_command: &["opencode", "acp"],
        oneshot: OPENCODE_ONESHOT,
        pass: &["OPENCODE_*"],
    },
    KnownAgent { oneshot: CLAUDE_ONESHOT, ..acp("claude", &["claude-code-acp"], &["CLAUDE_*"]) },
    acp("codex", &["codex-acp"], &["CODEX_*"]),
    acp("gemini", &["gemini", "--experimental-acp"], &[]),
    acp(DEMO, &[], &[]),
];

const fn acp(
    name: &'static str,
    command: &'static [&'static str],
    pass: &'static [&'static str],
) -> KnownAgent {
    KnownAgent { name, backend: BackendKind::Acp, command, acp_command: command, oneshot: &[], pass }
}

/// The known agent of that name.
pub fn find(name: &str) -> Option<&'static KnownAgent> {
    KNOWN.iter().find(|agent| agent.name == name)
}

impl KnownAgent {
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
            assert_eq!(agent.command.is_empty(), agent.name == DEMO, "{}", agent.name);
            assert_eq!(agent.pass_list().next().is_none(), agent.name == DEMO, "{}", agent.name);
        }
    }
}

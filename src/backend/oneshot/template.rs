//! The command line of a one-shot run: a list of words in which `{prompt}`, `{model}` and `{cwd}`
//! stand for what is known only when it runs. Pure.

/// Stands for the prompt; every template has it.
pub const PROMPT: &str = "{prompt}";
/// Stands for the configured model.
pub const MODEL: &str = "{model}";
/// Stands for the directory that the run works in.
const CWD: &str = "{cwd}";

/// What the places of a template are filled with.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The prompt.
    pub prompt: &'a str,
    /// The configured model.
    pub model: Option<&'a str>,
    /// The directory that the run works in.
    pub cwd: &'a str,
}

/// What is wrong with a template, and what to do about it.
pub fn problem(words: &[String], model: Option<&str>) -> Option<(&'static str, &'static str)> {
    let has = |place: &str| words.iter().skip(1).any(|word| word.contains(place));
    if words.first().is_some_and(|program| [PROMPT, MODEL, CWD].iter().any(|place| program.contains(place))) {
        return Some(("begins with something else than a program", "write the program as the first word"));
    }
    if !has(PROMPT) {
        let hint = "write {prompt} where the prompt goes: oneshot = [\"PROGRAM\", \"-p\", \"{prompt}\"]";
        return Some(("has no {prompt}, so no task would ever reach the program", hint));
    }
    if has(MODEL) && model.is_none() {
        return Some(("has {model}, and no model is configured", "set model in the same section"));
    }
    None
}

/// The words with their places filled; those for a model are left out where there is none. What is
/// filled in is not looked at again.
pub fn fill(words: &[String], values: Values<'_>) -> Vec<String> {
    let is_wanted = |word: &&String| values.model.is_some() || !word.contains(MODEL);
    words.iter().filter(is_wanted).map(|word| fill_word(word, values)).collect()
}

fn fill_word(word: &str, values: Values<'_>) -> String {
    let places = [(PROMPT, values.prompt), (MODEL, values.model.unwrap_or_default()), (CWD, values.cwd)];
    let mut filled = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        let (plain, from) = rest.split_at(at);
        filled.push_str(plain);
        match places.iter().find(|(place, _)| from.starts_with(place)) {
            Some((place, value)) => {
                filled.push_str(value);
                rest = &from[place.len()..];
            }
            None => {
                filled.push('{');
                rest = &from[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn every_place_is_filled_once() {
        let values = Values { prompt: "say {model} {cwd}", model: Some("m"), cwd: "/w" };
        let template = words(&["x", "--model={model}", "{cwd}{cwd}", "{a}{", "-p", "{prompt}!"]);
        let filled = ["x", "--model=m", "/w/w", "{a}{", "-p", "say {model} {cwd}!"];
        assert_eq!(fill(&template, values), filled);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |template: &[&str], model| problem(&words(template), model).map(|(what, _)| what);
        assert_eq!(said(&["x", "{prompt}"], None), None);
        assert_eq!(said(&["x", "{prompt}", "{model}"], Some("m")), None);
        assert!(said(&["x", "-p"], None).unwrap().contains("has no {prompt}"));
        assert!(said(&["x", "{prompt}", "-m={model}"], None).unwrap().contains("no model is configured"));
        assert!(said(&["{prompt}", "{prompt}"], None).unwrap().contains("program"));
    }

    #[test]
    fn the_words_for_a_model_are_left_out_where_there_is_none() {
        let template = words(&["x", "--model={model}", "{prompt}"]);
        let filled = |model| fill(&template, Values { prompt: "p", model, cwd: "/" });
        assert_eq!(filled(None), ["x", "p"]);
        assert_eq!(filled(Some("m")), ["x", "--model=m", "p"]);
    }

    proptest! {
        #[test]
        fn a_prompt_arrives_whole_and_as_one_word(prompt in "\\PC{0,40}") {
            let values = Values { prompt: &prompt, model: None, cwd: "/" };
            prop_assert_eq!(fill(&words(&["a", "{prompt}", "b"]), values), ["a", &prompt, "b"]);
        }
    }
}

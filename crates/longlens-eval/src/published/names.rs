//! Names of models: whether two are of one model, or of one family.

use super::Fit;

/// Words that tell a tuned model from the base model.
const TUNED: [&str; 4] = ["chat", "instruct", "it", "rlhf"];

/// How the model that a source calls `published` relates to one called `model`.
pub fn fit(published: &str, model: &str) -> Option<Fit> {
    let (published, model) = (words(published), words(model));
    let is_tuned = |words: &[String]| words.iter().any(|word| TUNED.contains(&&**word));
    let without_tuning: Vec<&String> = published.iter().filter(|word| !TUNED.contains(&&***word)).collect();
    if holds(&model, &without_tuning) && is_tuned(&published) == is_tuned(&model) {
        return Some(Fit::Model);
    }
    // a family is a name with the number of its generation, as Llama 3.1
    let is_size = |word: &str| word.ends_with('b') && word.starts_with(|c: char| c.is_ascii_digit());
    let family: Vec<&String> = without_tuning.into_iter().take_while(|word| !is_size(word)).collect();
    let has_generation = family.iter().any(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    (has_generation && holds(&model, &family)).then_some(Fit::Family)
}

/// Whether words stand in a name one behind the other, and no further number belongs to the last of them: Llama 3 is not Llama 3.1.
fn holds(name: &[String], words: &[&String]) -> bool {
    let is_number = |word: &String| word.chars().all(|c| c.is_ascii_digit());
    (0..name.len()).any(|start| {
        let rest = &name[start..];
        let is_there = rest.len() >= words.len() && rest.iter().zip(words).all(|(a, b)| a == *b);
        let goes_on = words.last().is_some_and(|last| is_number(last)) && rest.get(words.len()).is_some_and(is_number);
        is_there && !words.is_empty() && !goes_on
    })
}

/// Words of a name in small letters; a number begins a new one.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.to_lowercase().chars() {
        if !c.is_alphanumeric() || (c.is_ascii_digit() && before.is_alphabetic()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("there is a first word").push(c);
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_model_has_many_spellings() {
        for name in
            ["Llama-2-7b-chat-hf", "meta-llama/Llama-2-7b-chat", "llama2-7b-chat.Q4_K_M.gguf", "LLAMA_2_7B_CHAT"]
        {
            assert_eq!(fit("Llama-2-7B-chat", name), Some(Fit::Model), "{name}");
            assert_eq!(fit("Llama-2-7B", name), Some(Fit::Family), "{name} is tuned");
            assert_eq!(fit("Llama-2-13B-chat", name), Some(Fit::Family), "{name} is smaller");
            assert_eq!(fit("Llama-3-8B", name), None, "{name}");
        }
        assert_eq!(fit("Llama-3-8B", "Meta-Llama-3-8B"), Some(Fit::Model));
        assert_eq!(fit("Llama-3-8B", "Llama-3.1-8B"), None, "another generation");
        assert_eq!(fit("Llama-3.1-8B", "Meta-Llama-3.1-8B"), Some(Fit::Model));
        assert_eq!(fit("Llama-3.1-8B", "Llama-3.1-70B"), Some(Fit::Family));
        assert_eq!(fit("CodeLlama", "SmolLM2-135M-Instruct.Q4_1"), None);
        assert_eq!(fit("Llama-2-7B", ""), None);
    }
}

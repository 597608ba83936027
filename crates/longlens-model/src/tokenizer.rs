//! Text to tokens and back, by a checkpoint's `tokenizer.json`, or by what stands for one: the metadata of a GGUF file, or
//! `SentencePiece`'s `tokenizer.model`.

mod added;
mod chat;
mod checks;
mod first_last;
mod pieces;
mod special;

use longlens_core::lens::{Conversation, LensError, TextCodec};
use longlens_core::panics::caught;
use serde_json::Value;
use tokenizers::{ModelWrapper, Tokenizer};

use crate::error::{OpenError, cut};
use crate::gguf::Metadata;
use crate::source::Source;
pub use chat::ChatTemplate;
use checks::Sketch;
pub(crate) use pieces::written::entries;
use pieces::{gguf as gguf_pieces, sentencepiece};

/// A Hugging Face tokenizer.
#[derive(Debug, Clone)]
pub struct HfTokenizer {
    inner: Tokenizer,
    /// What errors call its file.
    file: String,
    vocab_size: usize,
    /// Tokens that the model has embeddings for.
    n_rows: usize,
    template: Option<ChatTemplate>,
    warnings: Vec<String>,
}

impl HfTokenizer {
    /// The checkpoint's tokenizer, if it has one. A text with a token beyond the model's `vocab_size` is refused when it comes.
    pub fn open(source: &Source, vocab_size: usize) -> Result<Option<Self>, OpenError> {
        let Some(mut tokenizer) = Self::found(source)? else { return Ok(None) };
        tokenizer.n_rows = vocab_size;
        if let Some(beyond) = tokenizer.beyond(vocab_size) {
            tokenizer.warnings.push(beyond);
        }
        Ok(Some(tokenizer))
    }

    /// Why texts cannot be read, where a checkpoint has a tokenizer of a kind that is not known.
    pub fn unknown(source: &Source) -> Result<Option<String>, OpenError> {
        let Some(gguf) = source.gguf()? else { return Ok(None) };
        Ok(gguf_pieces::json(gguf.metadata())?.and_then(Result::err))
    }

    /// Whether a checkpoint has a chat template; its text is not looked at.
    pub fn has_template(source: &Source) -> Result<bool, OpenError> {
        match source.gguf()? {
            Some(gguf) => Ok(gguf_pieces::template(gguf.metadata())?.is_some()),
            None => Ok(chat::text(source)?.is_some()),
        }
    }

    fn found(source: &Source) -> Result<Option<Self>, OpenError> {
        if let Some(gguf) = source.gguf()? {
            let metadata = gguf.metadata();
            let Some(Ok(json)) = gguf_pieces::json(metadata)? else { return Ok(None) };
            let mut tokenizer = Self::parse(metadata.file(), json.to_string().as_bytes())?;
            let template = gguf_pieces::template(metadata)?;
            let special = gguf_pieces::special(metadata)?;
            tokenizer.template = template.map(|text| ChatTemplate::new(metadata.file(), text, special));
            return Ok(Some(tokenizer));
        }
        let file = source.shown(FILE);
        let mut tokenizer = match source.read(FILE)? {
            Some(bytes) => Self::parse(&file, &bytes)?,
            None => match Self::of_pieces(source)? {
                Some(tokenizer) => tokenizer,
                None => return Ok(None),
            },
        };
        let applied = caught(|| first_last::apply(source, &mut tokenizer.inner));
        tokenizer.warnings.extend(applied.map_err(|panic| unreadable(&file, &panic))??);
        tokenizer.warnings.extend(added::differing(source, &tokenizer.inner)?);
        tokenizer.template = chat::find(source)?;
        Ok(Some(tokenizer))
    }

    /// The tokenizer in `SentencePiece`'s own file.
    fn of_pieces(source: &Source) -> Result<Option<Self>, OpenError> {
        let Some(bytes) = source.read(PIECES)? else { return Ok(None) };
        let file = source.shown(PIECES);
        let model = sentencepiece::read(&bytes).map_err(|problem| unreadable(&file, &problem))?;
        // transformers puts a first token before a text unless it is told otherwise, and no last one
        let model = pieces::Scored { last: None, ..model };
        Self::parse(&file, model.json().to_string().as_bytes()).map(Some)
    }

    /// Reads the text of a `tokenizer.json`; errors call it `file`.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, OpenError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let sketch = serde_json::from_slice::<Sketch>(bytes).map_err(|error| unreadable(file, &error.to_string()))?;
        sketch.check().map_err(|problem| unreadable(file, &problem))?;
        // the library panics on some files that it cannot read
        let read = caught(|| Self::read(bytes, sketch.drops_merges()));
        let (inner, warnings) =
            read.map_err(|panic| unreadable(file, &panic))?.map_err(|error| unreadable(file, &error))?;
        let vocab_size = inner.get_vocab(true).values().max().map_or(0, |highest| *highest as usize + 1);
        Ok(Self { inner, file: file.into(), vocab_size, n_rows: usize::MAX, template: None, warnings })
    }

    fn read(bytes: &[u8], drops_merges: bool) -> Result<(Tokenizer, Vec<String>), String> {
        let mut inner = Tokenizer::from_bytes(bytes).map_err(|error| error.to_string())?;
        // some files ask for short texts of equal length: a long prompt would be cut without a word
        inner.with_truncation(None).map_err(|error| error.to_string())?;
        inner.with_padding(None);
        let mut warnings = Vec::new();
        if drops_merges && let ModelWrapper::BPE(model) = inner.get_model() {
            let mut model = model.clone();
            model.dropout = None;
            inner.with_model(model);
            warnings.push("its tokenizer drops merges at random, which is for training: all merges are used".into());
        }
        Ok((inner, warnings))
    }

    /// Highest token id, plus one.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// What a user should know of it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The id of a token by its text.
    fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Ids of a text; nothing where it cannot be read.
    fn ids(&self, text: &str, special: bool) -> Option<Vec<u32>> {
        caught(|| self.inner.encode_fast(text, special).map(|encoding| encoding.get_ids().to_vec())).ok()?.ok()
    }

    /// Texts of added tokens, by their ids.
    fn added(&self) -> Vec<String> {
        let mut added: Vec<_> = self.inner.get_added_tokens_decoder().into_iter().collect();
        added.sort_unstable_by_key(|(id, _)| *id);
        added.into_iter().map(|(_, token)| token.content).collect()
    }

    /// The first and the last token that it puts around a text.
    fn ends(&self) -> [Option<u32>; 2] {
        let [plain, whole] = [false, true].map(|special| self.ids("a", special).unwrap_or_default());
        let first = whole.first().filter(|first| plain.first() != Some(first));
        let last = whole.last().filter(|last| plain.last() != Some(last));
        [first.copied(), last.copied()]
    }

    /// What is said where it has tokens that the model has not.
    fn beyond(&self, n_rows: usize) -> Option<String> {
        let vocab = (self.vocab_size > n_rows).then(|| self.inner.get_vocab(true))?;
        let mut beyond: Vec<_> = vocab.iter().filter(|(_, id)| **id as usize >= n_rows).collect();
        beyond.sort_unstable_by_key(|(_, id)| **id);
        let (token, id) = beyond.first()?;
        let rest = if beyond.len() > 1 { format!(" and {} more", beyond.len() - 1) } else { String::new() };
        Some(format!(
            "its tokenizer has tokens without an embedding (`vocab_size` is {n_rows}): `{}` ({id}){rest}; texts that use them are \
             refused",
            cut(token)
        ))
    }
}

/// Contents of files by their names.
type Named = Vec<(&'static str, Vec<u8>)>;

/// The tokenizer and chat template of a GGUF file as files of a folder; beside them why there is no tokenizer, where its kind is not
/// known.
pub(crate) fn files(metadata: &Metadata) -> Result<(Named, Option<String>), OpenError> {
    let pretty = |json: &Value| serde_json::to_vec_pretty(json).expect("a map of plain values");
    let mut config = gguf_pieces::special(metadata)?;
    config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
    config.insert("clean_up_tokenization_spaces".into(), false.into());
    if let Some(template) = gguf_pieces::template(metadata)? {
        config.insert("chat_template".into(), template.into());
    }
    let mut files = Vec::new();
    let problem = match gguf_pieces::json(metadata)? {
        Some(Ok(json)) => {
            files.push((FILE, pretty(&json)));
            None
        }
        Some(Err(problem)) => Some(problem),
        None => return Ok((files, None)),
    };
    files.push((special::CONFIG, pretty(&Value::Object(config))));
    Ok((files, problem))
}

const FILE: &str = "tokenizer.json";
const PIECES: &str = "tokenizer.model";

fn unreadable(file: &str, problem: &str) -> OpenError {
    OpenError::Unreadable { file: file.into(), problem: problem.into() }
}

impl TextCodec for HfTokenizer {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
        let encoded = caught(|| self.inner.encode_fast(text, special).map(|encoding| encoding.get_ids().to_vec()));
        let tokens = self.told(encoded)?;
        match tokens.iter().find(|token| **token as usize >= self.n_rows) {
            Some(token) => {
                let text = self.inner.id_to_token(*token).unwrap_or_default();
                Err(LensError::NoEmbedding { token: *token, text: cut(&text).into(), vocab_size: self.n_rows })
            }
            None => Ok(tokens),
        }
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
        self.told(caught(|| self.inner.decode(tokens, true)))
    }

    fn special(&self, token: u32) -> Option<String> {
        let written = self.inner.id_to_token(token)?;
        self.inner.get_added_vocabulary().is_special_token(&written).then_some(written)
    }

    fn vocabulary(&self) -> Option<usize> {
        Some(self.inner.get_vocab_size(true))
    }

    fn chat(&self, conversation: &Conversation) -> Result<String, LensError> {
        self.template.as_ref().ok_or(LensError::NoChatTemplate)?.render(conversation)
    }
}

impl HfTokenizer {
    /// The library's panics and errors, with the name of the file.
    fn told<T>(&self, done: Result<tokenizers::Result<T>, String>) -> Result<T, LensError> {
        let told = |problem: &str| LensError::Tokenizer(format!("{}: {}", self.file, cut(problem)));
        done.map_err(|panic| told(&panic))?.map_err(|error| told(&error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_and_special_tokens_are_asked_for() {
        let tokenizer = HfTokenizer::open(&Source::embedded(), 1024).unwrap().unwrap();
        assert_eq!(tokenizer.vocab_size(), 1024);
        let text = "The pass key is 8 1 5. Ünïcödé, too.";
        let plain = tokenizer.encode(text, false).unwrap();
        let special = tokenizer.encode(text, true).unwrap();
        assert_eq!((special[0], &special[1..]), (1, plain.as_slice()));
        assert_eq!(tokenizer.decode(&special).unwrap(), text);
    }

    #[test]
    fn a_truncation_in_the_file_does_not_cut_prompts() {
        let bytes = Source::embedded().require(FILE).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        json["truncation"] = serde_json::json!({
            "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0
        });
        let tokenizer = HfTokenizer::parse(FILE, json.to_string().as_bytes()).unwrap();
        assert!(tokenizer.encode(&"a bird ".repeat(100), true).unwrap().len() > 100);
    }

    #[test]
    fn only_texts_with_tokens_beyond_the_embedding_are_refused() {
        let tokenizer = HfTokenizer::open(&Source::embedded(), 1023).unwrap().unwrap();
        let last = tokenizer.inner.decode(&[1023], false).unwrap();
        assert!(tokenizer.warnings()[0].contains("`vocab_size` is 1023") && tokenizer.warnings()[0].contains("(1023)"));
        assert!(tokenizer.encode("A bird.", true).is_ok());
        let refused = tokenizer.encode(&last, false).unwrap_err();
        assert!(matches!(refused, LensError::NoEmbedding { token: 1023, .. }), "{refused}");
    }

    /// The embedded file with one part replaced.
    fn with(part: &str, value: serde_json::Value) -> Vec<u8> {
        let bytes = Source::embedded().require(FILE).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        json[part] = value;
        json.to_string().into_bytes()
    }

    #[test]
    fn panics_of_the_library_become_errors_with_the_name_of_the_file() {
        use serde_json::json;
        let empty = json!({"type": "Replace", "pattern": {"Regex": ""}, "content": "zz"});
        let template = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>", "type_id": 0}}],
            "pair": [], "special_tokens": {}});
        let charsmap = |text: &str| json!({"type": "Precompiled", "precompiled_charsmap": text});
        for (part, value) in [
            ("normalizer", empty),
            ("post_processor", template),
            ("normalizer", charsmap("AAAA////")),
            ("normalizer", charsmap("q83vEjRWeJq83v8=")),
            ("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        ] {
            let shown = value.to_string();
            let said = match HfTokenizer::parse("x/tokenizer.json", &with(part, value)) {
                Err(error) => error.to_string(),
                Ok(tokenizer) => {
                    let tried = tokenizer.encode("A bird.", true).and_then(|tokens| tokenizer.decode(&tokens));
                    tried.map_or_else(|error| error.to_string(), |text| panic!("{shown} gives {text}"))
                }
            };
            assert!(said.contains("x/tokenizer.json"), "{shown}: {said}");
        }
        let marked = [b"\xef\xbb\xbf", &*Source::embedded().require(FILE).unwrap()].concat();
        assert!(HfTokenizer::parse(FILE, &marked).is_ok(), "a byte order mark says nothing");
        assert!(matches!(HfTokenizer::parse(FILE, b"{}"), Err(OpenError::Unreadable { .. })));
    }

    #[test]
    fn every_cut_of_the_file_is_an_error() {
        let bytes = Source::embedded().require(FILE).unwrap();
        // every byte of the part before the vocabulary, where the library reads structures, and places all over the rest
        let start = bytes.windows(9).position(|part| part == b"\"model\": ").unwrap_or(3000).min(3000);
        for end in (0..start).chain((start..bytes.len()).step_by(997)) {
            assert!(HfTokenizer::parse(FILE, &bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn ids_as_large_as_they_can_be_take_no_memory() {
        let token = serde_json::json!([{"id": u32::MAX, "content": "<last>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}]);
        let tokenizer = HfTokenizer::parse(FILE, &with("added_tokens", token)).unwrap();
        assert!(tokenizer.encode("A bird.", false).is_ok());
        assert!(tokenizer.decode(&[u32::MAX, 3]).is_ok());
    }

    #[test]
    fn added_tokens_under_two_names_are_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), Source::embedded().require(FILE).unwrap()).unwrap();
        for (token, n_warnings) in [("<s>", 0), ("<begin>", 1)] {
            let config =
                serde_json::json!({"added_tokens_decoder": {"1": {"content": token}, "9999": {"content": "x"}}});
            std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
            let tokenizer = HfTokenizer::open(&Source::folder(folder.path()), 1024).unwrap().unwrap();
            assert_eq!(tokenizer.warnings().len(), n_warnings, "{:?}", tokenizer.warnings());
            assert!(tokenizer.warnings().iter().all(|told| told.contains("token 1 `<begin>`, tokenizer.json `<s>`")));
        }
    }

    #[test]
    fn the_config_of_the_tokenizer_decides_first_and_last_tokens() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), Source::embedded().require(FILE).unwrap()).unwrap();
        let source = Source::folder(folder.path());
        for (config, expected, n_warnings) in [
            (r#"{"tokenizer_class": "LlamaTokenizer"}"#, [1, 0], 0),
            (r#"{"add_bos_token": true, "bos_token": "<s>"}"#, [1, 0], 0),
            (r#"{"add_bos_token": false, "bos_token": "<s>"}"#, [0, 0], 1),
            (
                r#"{"add_bos_token": true, "bos_token": {"content": "<s>"}, "add_eos_token": true, "eos_token": "</s>"}"#,
                [1, 2],
                1,
            ),
            (r#"{"add_eos_token": true, "tokenizer_class": "LlamaTokenizerFast"}"#, [0, 2], 1),
            // nothing to add is nothing added
            (r#"{"add_bos_token": true}"#, [0, 0], 1),
        ] {
            std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
            let tokenizer = HfTokenizer::open(&source, 1024).unwrap().unwrap();
            let plain = tokenizer.encode("A bird.", false).unwrap();
            let first = [1].into_iter().filter(|_| expected[0] == 1);
            let last = [2].into_iter().filter(|_| expected[1] == 2);
            let wanted: Vec<u32> = first.chain(plain).chain(last).collect();
            assert_eq!(tokenizer.encode("A bird.", true).unwrap(), wanted, "{config}");
            assert_eq!(tokenizer.warnings().len(), n_warnings, "{config}");
        }
    }
}

//! A question to the worker and the newest answer to it.

use longlens_app::Problem;

/// What is asked again whenever its key changes, and the newest answer with the key that it was asked with.
///
/// One rule decides what an answer is worth. It is taken in if it carries the number of the newest question. It is stale
/// while the newest question has another key or is still waiting; a stale answer is shown, dimmed, until the next replaces it.
#[derive(Debug, Clone, PartialEq)]
pub struct Question<K, A> {
    asked: Option<(u64, K)>,
    is_waiting: bool,
    answer: Option<(K, A)>,
    refusal: Option<Problem>,
}

impl<K, A> Default for Question<K, A> {
    fn default() -> Self {
        Self { asked: None, is_waiting: false, answer: None, refusal: None }
    }
}

impl<K: Clone + PartialEq, A> Question<K, A> {
    /// The newest answer.
    pub fn answer(&self) -> Option<&A> {
        self.answer.as_ref().map(|(_, answer)| answer)
    }

    /// The newest answer and the key that it was asked with.
    pub fn keyed(&self) -> Option<(&K, &A)> {
        self.answer.as_ref().map(|(key, answer)| (key, answer))
    }

    /// The key of the newest answer.
    pub fn key(&self) -> Option<&K> {
        self.answer.as_ref().map(|(key, _)| key)
    }

    /// The question that has no answer yet.
    pub fn waiting(&self) -> Option<&K> {
        self.asked.as_ref().filter(|_| self.is_waiting).map(|(_, key)| key)
    }

    /// Whether there is an answer that is not the one to the newest question.
    pub fn is_stale(&self) -> bool {
        self.answer.is_some() && (self.is_waiting || self.key() != self.asked.as_ref().map(|(_, key)| key))
    }

    /// Why the newest question has no answer.
    pub fn refusal(&self) -> Option<&Problem> {
        self.refusal.as_ref()
    }

    /// Whether this was not asked last. What failed is not asked again until something else was.
    pub(super) fn is_new(&self, key: &K) -> bool {
        self.asked.as_ref().is_none_or(|(_, asked)| asked != key)
    }

    /// Notes what was asked, under a number that no other question has.
    pub(super) fn ask(&mut self, id: u64, key: K) {
        (self.asked, self.is_waiting, self.refusal) = (Some((id, key)), true, None);
    }

    /// Takes the question of this number if it is the one that waits.
    fn take(&mut self, id: u64) -> Option<K> {
        let (_, key) = self.asked.as_ref().filter(|(asked, _)| self.is_waiting && *asked == id)?;
        self.is_waiting = false;
        Some(key.clone())
    }

    /// Takes in an answer, or none where `read` finds nothing in it; false if it is to an older question.
    pub(super) fn answered(&mut self, id: u64, read: impl FnOnce(&K) -> Option<A>) -> bool {
        let Some(key) = self.take(id) else { return false };
        if let Some(answer) = read(&key) {
            self.answer = Some((key, answer));
        }
        true
    }

    /// Takes in that there is no answer, and returns what was asked; the one before stays.
    pub(super) fn failed(&mut self, id: u64, why: Problem) -> Option<K> {
        let key = self.take(id)?;
        self.refusal = Some(why);
        Some(key)
    }

    /// Gives up the question that waits; it may be asked again.
    pub(super) fn cancel(&mut self) {
        // an answer that is already on its way has no number any more
        (self.asked, self.is_waiting) = (self.key().map(|key| (0, key.clone())), false);
    }

    /// Forgets question and answer, and says why there is none.
    pub(super) fn clear(&mut self, why: Option<Problem>) {
        *self = Self { refusal: why, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_stale_until_the_newest_question_has_its_own() {
        let mut question = Question::default();
        assert!(question.is_new(&'a') && !question.is_stale());
        question.ask(1, 'a');
        question.ask(2, 'b');
        assert!(!question.answered(1, |_| Some(10)), "the answer to an older question");
        assert!(question.answered(2, |key| (*key == 'b').then_some(20)));
        assert_eq!((question.keyed(), question.is_stale(), question.waiting()), (Some((&'b', &20)), false, None));
        assert!(!question.answered(2, |_| Some(21)), "a second answer");

        question.ask(3, 'c');
        assert!(question.is_stale() && question.waiting() == Some(&'c') && question.answer() == Some(&20));
        question.cancel();
        assert!(!question.is_stale() && question.is_new(&'c') && !question.answered(3, |_| Some(30)));
        question.ask(4, 'b');
        assert!(question.is_stale(), "the same is computed anew");
    }

    #[test]
    fn what_failed_is_not_asked_again() {
        let mut question = Question::<_, u8>::default();
        question.ask(1, 'a');
        assert_eq!(question.failed(7, Problem::new("of another question", None)), None);
        assert_eq!(question.failed(1, Problem::new("no room", None)), Some('a'));
        assert!(!question.is_new(&'a') && question.refusal().is_some_and(|why| why.message == "no room"));
        question.ask(2, 'b');
        assert_eq!(question.refusal(), None);
        question.clear(Some(Problem::new("not now", None)));
        assert!(question.is_new(&'b') && question.refusal().is_some());
    }
}

//! Threads, posts and who is here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use portcullis::system::clock::{Clock, SystemClock};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::apps::Problem;
use crate::apps::forums_data::SAMPLES;

const MAX_THREADS: usize = 200;
const MAX_POSTS: usize = 500;

/// The forums' whole state.
#[derive(Debug)]
pub(crate) struct Forums {
    state: Mutex<State>,
    live: broadcast::Sender<String>,
}

#[derive(Debug, Default)]
struct State {
    threads: Vec<Thread>,
    last_id: u32,
    /// Names with their number of open pages.
    present: BTreeMap<String, u32>,
}

#[derive(Debug, Clone, Serialize)]
struct Thread {
    id: u32,
    title: String,
    topic: String,
    closed: bool,
    posts: Vec<Post>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Post {
    id: u32,
    author: String,
    /// Seconds since the Unix epoch.
    posted_at: u64,
    text: String,
    hidden: bool,
}

impl Forums {
    /// The forums as they are at the start of the demo.
    pub(crate) fn with_samples() -> Self {
        let now = SystemClock.now();
        let mut state = State::default();
        for sample in &SAMPLES {
            let posts = sample.posts.iter().map(|(author, hours, text)| Post {
                id: state.next_id(),
                author: (*author).to_owned(),
                posted_at: now.saturating_sub(hours * 3600),
                text: (*text).to_owned(),
                hidden: false,
            });
            let posts = posts.collect();
            let id = state.next_id();
            let (title, topic) = (sample.title.to_owned(), sample.topic.to_owned());
            state.threads.push(Thread { id, title, topic, closed: false, posts });
        }
        Self { state: Mutex::new(state), live: broadcast::channel(64).0 }
    }

    /// All threads without their posts, the liveliest first.
    pub(crate) fn list(&self) -> Vec<Value> {
        let state = self.lock();
        let mut threads: Vec<&Thread> = state.threads.iter().collect();
        threads.sort_by_key(|thread| {
            std::cmp::Reverse(thread.posts.last().map(|post| (post.posted_at, post.id)))
        });
        let summaries = threads.into_iter().map(|thread| {
            json!({
                "id": thread.id, "title": thread.title, "topic": thread.topic, "closed": thread.closed,
                "replies": thread.posts.len().saturating_sub(1),
                "author": thread.posts.first().map(|post| &post.author),
                "last_author": thread.posts.last().map(|post| &post.author),
                "last_at": thread.posts.last().map(|post| post.posted_at),
            })
        });
        summaries.collect()
    }

    /// A thread with its posts; the text of hidden ones only for moderators.
    pub(crate) fn show(&self, id: u32, moderator: bool) -> Option<Value> {
        let mut thread = self.lock().threads.iter().find(|thread| thread.id == id)?.clone();
        for post in thread.posts.iter_mut().filter(|post| post.hidden && !moderator) {
            post.text.clear();
        }
        Some(json!(thread))
    }

    /// Returns the number of posts that a member has written.
    pub(crate) fn posts_of(&self, author: &str) -> usize {
        self.lock()
            .threads
            .iter()
            .flat_map(|thread| &thread.posts)
            .filter(|post| post.author == author)
            .count()
    }

    pub(crate) fn add_thread(&self, author: &str, title: &str, topic: &str, text: &str) -> u32 {
        let mut state = self.lock();
        let post = state.new_post(author, text);
        let id = state.next_id();
        if state.threads.len() == MAX_THREADS {
            state.threads.remove(0);
        }
        state.threads.push(Thread {
            id,
            title: title.to_owned(),
            topic: topic.to_owned(),
            closed: false,
            posts: vec![post],
        });
        drop(state);
        self.tell(&json!({ "type": "thread", "thread": id, "title": title, "author": author }));
        id
    }

    pub(crate) fn add_post(&self, thread: u32, author: &str, text: &str) -> Result<Post, Problem> {
        let mut state = self.lock();
        let post = state.new_post(author, text);
        let found = state.thread(thread)?;
        if found.closed || found.posts.len() >= MAX_POSTS {
            return Err(Problem::new(StatusCode::CONFLICT, "Closed", "this thread takes no more posts"));
        }
        found.posts.push(post.clone());
        drop(state);
        self.tell(&json!({ "type": "post", "thread": thread, "post": post }));
        Ok(post)
    }

    /// Hides or shows a post, or closes or opens a whole thread.
    pub(crate) fn moderate(&self, thread: u32, post: Option<u32>, on: bool) -> Result<(), Problem> {
        let mut state = self.lock();
        let found = state.thread(thread)?;
        match post {
            None => found.closed = on,
            Some(id) => {
                let post = found.posts.iter_mut().find(|post| post.id == id);
                post.ok_or_else(|| Problem::not_found("there is no such post"))?.hidden = on;
            }
        }
        drop(state);
        self.tell(&json!({ "type": "moderated", "thread": thread }));
        Ok(())
    }

    /// Counts one more open page of a member, and tells everybody who is here.
    pub(crate) fn arrive(&self, name: &str) {
        *self.lock().present.entry(name.to_owned()).or_default() += 1;
        self.tell_presence();
    }

    /// The opposite of [`Forums::arrive`].
    pub(crate) fn leave(&self, name: &str) {
        let mut state = self.lock();
        if let Some(pages) = state.present.get_mut(name) {
            *pages -= 1;
        }
        state.present.retain(|_, pages| *pages > 0);
        drop(state);
        self.tell_presence();
    }

    /// Everything that is told from now on, as JSON texts.
    pub(crate) fn listen(&self) -> broadcast::Receiver<String> {
        self.live.subscribe()
    }

    fn tell_presence(&self) {
        let names: Vec<String> = self.lock().present.keys().cloned().collect();
        self.tell(&json!({ "type": "present", "names": names }));
    }

    fn tell(&self, message: &Value) {
        // An error only says that nobody listens.
        let _ = self.live.send(message.to_string());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    fn new_post(&mut self, author: &str, text: &str) -> Post {
        Post {
            id: self.next_id(),
            author: author.to_owned(),
            posted_at: SystemClock.now(),
            text: text.to_owned(),
            hidden: false,
        }
    }

    fn thread(&mut self, id: u32) -> Result<&mut Thread, Problem> {
        let found = self.threads.iter_mut().find(|thread| thread.id == id);
        found.ok_or_else(|| Problem::not_found("there is no such thread"))
    }
}

//! Notebooks on disk and on the run: what survives, what is refused, and what a stopped run leaves.

#[path = "documents/echo.rs"]
mod echo;
#[path = "documents/files.rs"]
mod files;
#[path = "documents/forms.rs"]
mod forms;
#[path = "documents/resumes.rs"]
mod resumes;
#[path = "documents/runs.rs"]
mod runs;

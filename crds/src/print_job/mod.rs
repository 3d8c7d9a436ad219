//! PrintJob: one print of one plate on one printer. Retries are attempts of the same job.

mod source;
mod spec;
mod status;

pub use source::*;
pub use spec::*;
pub use status::*;

impl PrintJobSpec {
    /// A job that asks for nothing but a print of this file: every other field as if it were not written.
    pub fn new(source: Source) -> Self {
        Self {
            display_name: None,
            source,
            sha256: None,
            plate: spec::default_plate(),
            printer_ref: None,
            printer_selector: None,
            requirements: None,
            color_match: None,
            filaments: Vec::new(),
            options: None,
            tolerations: Vec::new(),
            priority: 0,
            run_id: String::new(),
            desired_state: DesiredState::default(),
            deletion_policy: DeletionPolicy::default(),
            outcome: None,
            result: None,
            retry: Retry::default(),
            start_deadline_seconds: None,
            not_after: None,
            ttl_seconds_after_finished: None,
            order: None,
        }
    }
}

//! The labels of the metrics: every value is known beforehand, so that the number of series never grows with the farm.

use printernizer_crds::Reason;
use printernizer_crds::print_job::Phase;
use printernizer_crds::printer::PrinterState;
use printernizer_rules::device::DeviceKind;

/// A label whose values are all known beforehand.
pub trait Label: Copy + PartialEq + 'static {
    /// Every value.
    const ALL: &[Self];
    /// The value as shown.
    fn label(self) -> &'static str;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $visibility:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ })+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name { $($(#[$variant_doc])* $variant,)+ }
        impl Label for $name {
            const ALL: &[Self] = &[$(Self::$variant,)+];
            fn label(self) -> &'static str { match self { $(Self::$variant => $text,)+ } }
        }
    )+ };
    ($(for $name:ident { $($variant:ident = $text:literal,)+ })+) => { $(
        impl Label for $name {
            const ALL: &[Self] = &[$(Self::$variant,)+];
            fn label(self) -> &'static str { match self { $(Self::$variant => $text,)+ } }
        }
    )+ };
}

labels! {
    /// The kind a controller works on.
    pub enum Controller {
        /// Printers.
        Printer = "printer",
        /// PrintJobs.
        PrintJob = "print_job",
        /// The assignment of jobs to printers.
        Scheduling = "scheduling",
    }

    /// How a pass over one object ended.
    pub enum Outcome {
        /// Something was done.
        Applied = "applied",
        /// Nothing had to be done.
        Unchanged = "unchanged",
        /// Another writer was first; the object is observed again.
        Conflict = "conflict",
        /// The pass failed and is repeated with a backoff.
        Failed = "failed",
        /// The pass panicked.
        Panicked = "panicked",
        /// The pass was cut off, by its time limit or because leadership ended.
        Abandoned = "abandoned",
    }

    /// What became of one start command.
    pub enum StartResult {
        /// Sent; the device shows what follows.
        Sent = "sent",
        /// Refused by the device.
        Refused = "refused",
        /// It is known that no byte left.
        NotSent = "not_sent",
        /// It may or may not have arrived; never repeated.
        Unclear = "unclear",
    }

    /// The kind whose status was written.
    pub enum StatusKind {
        /// Printer.
        Printer = "Printer",
        /// PrintJob.
        PrintJob = "PrintJob",
        /// PrintRecord.
        PrintRecord = "PrintRecord",
    }

    /// Materials counted by name; everything else is `other`.
    pub enum Material {
        /// Polylactic acid.
        Pla = "PLA",
        /// Glycol-modified polyethylene terephthalate.
        Petg = "PETG",
        /// Acrylonitrile butadiene styrene.
        Abs = "ABS",
        /// Acrylonitrile styrene acrylate.
        Asa = "ASA",
        /// Thermoplastic polyurethane.
        Tpu = "TPU",
        /// Polyamide.
        Pa = "PA",
        /// Polycarbonate.
        Pc = "PC",
        /// Polyvinyl alcohol.
        Pva = "PVA",
        /// Anything else.
        Other = "other",
    }
}

labels! {
    for DeviceKind { PrusaLink = "prusalink", Bambu = "bambu", }
    for PrinterState {
        Idle = "Idle", Preparing = "Preparing", Printing = "Printing", Paused = "Paused", Finished = "Finished",
        Failed = "Failed", Attention = "Attention", Offline = "Offline", Unknown = "Unknown",
    }
    for Phase {
        Pending = "Pending", Held = "Held", Assigned = "Assigned", Uploading = "Uploading", Starting = "Starting",
        Printing = "Printing", Paused = "Paused", AttentionNeeded = "AttentionNeeded", Succeeded = "Succeeded",
        Failed = "Failed", Cancelled = "Cancelled",
    }
}

impl Label for Reason {
    const ALL: &[Self] = Self::ALL;
    fn label(self) -> &'static str {
        self.as_str()
    }
}

impl Material {
    /// The counted material of a name as a slicer writes it, `PLA` of `pla`.
    pub fn of(name: &str) -> Self {
        let known = |material: &&Self| material.label().eq_ignore_ascii_case(name.trim());
        Self::ALL.iter().find(known).copied().unwrap_or(Self::Other)
    }
}

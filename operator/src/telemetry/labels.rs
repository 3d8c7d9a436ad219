//! The labels of the metrics: every value is known beforehand, so that the number of series never grows with the farm.

use printernizer_crds::backup_policy::Role;
use printernizer_crds::print_job::{Outcome as AttemptOutcome, Phase};
use printernizer_crds::printer::PrinterState;
use printernizer_crds::{ConditionType, Reason};
use printernizer_rules::device::{DeviceKind, LinkFault};

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
        /// BackupPolicies.
        BackupPolicy = "backup_policy",
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
        /// The pass was cut off because leadership ended.
        Abandoned = "abandoned",
    }

    /// Why a pass over one object failed.
    pub enum PassError {
        /// The API server did not answer in time, or the whole pass took too long.
        Timeout = "timeout",
        /// It could not be reached, or the connection broke.
        Unreachable = "unreachable",
        /// It answered that it cannot, at the moment (429, 5xx).
        Unavailable = "unavailable",
        /// It refuses what the operator has no right to (401, 403).
        Forbidden = "forbidden",
        /// The object, or its kind, is not there.
        NotFound = "not_found",
        /// It refuses what was asked (any other 4xx).
        Refused = "refused",
        /// Its answer cannot be read, or has less than was written: objects or definitions of another version.
        Unreadable = "unreadable",
        /// A bug of the operator.
        Panic = "panic",
    }

    /// What the API server is asked to do.
    pub enum Verb {
        /// One object is read.
        Get = "get",
        /// Many are.
        List = "list",
        /// Changes are followed.
        Watch = "watch",
        /// An object is made.
        Create = "create",
        /// One is replaced.
        Update = "update",
        /// Fields of one are changed.
        Patch = "patch",
        /// One is deleted.
        Delete = "delete",
    }

    /// What of the API server's is asked for.
    pub enum Resource {
        /// Printers.
        Printers = "printers",
        /// Their statuses.
        PrintersStatus = "printers/status",
        /// PrintJobs.
        PrintJobs = "printjobs",
        /// Their statuses.
        PrintJobsStatus = "printjobs/status",
        /// PrintRecords.
        PrintRecords = "printrecords",
        /// Their statuses.
        PrintRecordsStatus = "printrecords/status",
        /// BackupPolicies.
        BackupPolicies = "backuppolicies",
        /// Their statuses.
        BackupPoliciesStatus = "backuppolicies/status",
        /// CronJobs.
        CronJobs = "cronjobs",
        /// Jobs.
        Jobs = "jobs",
        /// Pods.
        Pods = "pods",
        /// PersistentVolumeClaims.
        Volumes = "persistentvolumeclaims",
        /// ServiceAccounts.
        Accounts = "serviceaccounts",
        /// Roles.
        Roles = "roles",
        /// RoleBindings.
        RoleBindings = "rolebindings",
        /// Secrets.
        Secrets = "secrets",
        /// ConfigMaps.
        ConfigMaps = "configmaps",
        /// Events.
        Events = "events",
        /// The Lease.
        Leases = "leases",
        /// Anything else.
        Other = "other",
    }

    /// Class of the API server's answer.
    pub enum Answer {
        /// Done.
        Success = "2xx",
        /// Refused.
        ClientError = "4xx",
        /// Failed.
        ServerError = "5xx",
        /// Anything else.
        Other = "other",
        /// No answer, or none that was waited for.
        None = "none",
    }

    /// Why a try to start came to nothing before anything was sent.
    pub enum Withheld {
        /// The job or the claim has changed meanwhile.
        Changed = "changed",
        /// The printer or its device cannot take a print now.
        NotNow = "not_now",
        /// All starts are held.
        Held = "held",
        /// Nothing is started on any printer: a namespace cannot be read, or the definitions are too old.
        Everywhere = "everywhere",
        /// The claim leads nowhere, and the printer is given back.
        GiveBack = "give_back",
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
        /// BackupPolicy, also of what belongs to one.
        BackupPolicy = "BackupPolicy",
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
    for AttemptOutcome {
        Succeeded = "Succeeded", Failed = "Failed", Cancelled = "Cancelled", NotStarted = "NotStarted",
        Unknown = "Unknown",
    }
    for LinkFault {
        Unreachable = "unreachable", AddressForbidden = "address_forbidden", InvalidSpec = "invalid_spec",
        WrongProtocol = "wrong_protocol", CredentialsRefused = "credentials_refused",
        SecretNotFound = "secret_not_found", SecretKeyMissing = "secret_key_missing",
        SecretNotLabeled = "secret_not_labeled", WrongSerialNumber = "wrong_serial_number",
        NotSupported = "not_supported",
    }
    for DeviceKind { PrusaLink = "prusalink", Bambu = "bambu", }
    for PrinterState {
        Idle = "Idle", Preparing = "Preparing", Printing = "Printing", Paused = "Paused", Finished = "Finished",
        Failed = "Failed", Attention = "Attention", Offline = "Offline", Unknown = "Unknown",
    }
    for Role {
        Backup = "Backup", Check = "Check", Prune = "Prune", RestoreDrill = "RestoreDrill", Restore = "Restore",
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

impl Label for ConditionType {
    const ALL: &[Self] = Self::ALL;
    fn label(self) -> &'static str {
        self.as_str()
    }
}

/// What the operator asks of the API server, which is what its rights allow.
pub(super) const REQUESTS: [(Resource, &[Verb]); 19] = [
    (Resource::Printers, &[Verb::Get, Verb::List, Verb::Watch, Verb::Patch]),
    (Resource::PrintersStatus, &[Verb::Update]),
    (Resource::PrintJobs, &[Verb::Get, Verb::List, Verb::Watch, Verb::Patch, Verb::Delete]),
    (Resource::PrintJobsStatus, &[Verb::Update]),
    (Resource::PrintRecords, &[Verb::Get, Verb::List, Verb::Create, Verb::Delete]),
    (Resource::PrintRecordsStatus, &[Verb::Update]),
    (Resource::BackupPolicies, &[Verb::Get, Verb::List, Verb::Watch]),
    (Resource::BackupPoliciesStatus, &[Verb::Update]),
    (Resource::CronJobs, &[Verb::Get, Verb::List, Verb::Watch, Verb::Patch, Verb::Delete]),
    (Resource::Jobs, &[Verb::List, Verb::Watch, Verb::Create]),
    (Resource::Pods, &[Verb::List, Verb::Watch]),
    (Resource::Volumes, &[Verb::Get]),
    (Resource::Accounts, &[Verb::Get, Verb::Patch]),
    (Resource::Roles, &[Verb::Get, Verb::Patch]),
    (Resource::RoleBindings, &[Verb::Get, Verb::Patch]),
    (Resource::Secrets, &[Verb::Get]),
    (Resource::ConfigMaps, &[Verb::Get]),
    (Resource::Events, &[Verb::Create]),
    (Resource::Leases, &[Verb::Get, Verb::Create, Verb::Update]),
];

/// Controllers with a queue.
pub(super) const QUEUED: [Controller; 3] = [Controller::Printer, Controller::PrintJob, Controller::BackupPolicy];

/// Why a job is not accepted, other than that its file is still on its way.
pub(super) const REFUSALS: [Reason; 21] = [
    Reason::FileCacheUnusable,
    Reason::FileNotFound,
    Reason::SourceUnreachable,
    Reason::CertificateNotTrusted,
    Reason::SourceForbidden,
    Reason::SecretNotFound,
    Reason::SecretKeyMissing,
    Reason::SecretNotLabeled,
    Reason::FileTooLarge,
    Reason::FileEmpty,
    Reason::FileLengthUnknown,
    Reason::DigestMismatch,
    Reason::NotAPrintFile,
    Reason::Unsliced,
    Reason::MissingPlate,
    Reason::FileCorrupt,
    Reason::MachineUnstated,
    Reason::InvalidSpec,
    Reason::NotSupported,
    Reason::CopyOfPrintedJob,
    Reason::AlreadyPrinted,
];

impl Material {
    /// The counted material of a name as a slicer writes it, `PLA` of `pla`.
    pub fn of(name: &str) -> Self {
        let known = |material: &&Self| material.label().eq_ignore_ascii_case(name.trim());
        Self::ALL.iter().find(known).copied().unwrap_or(Self::Other)
    }
}

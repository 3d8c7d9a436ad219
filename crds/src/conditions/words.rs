//! The words of conditions: their types and reasons. They are part of the API and are listed here, nowhere else.

macro_rules! api_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }
        impl $name {
            /// Every value, in the order of definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// The value as it stands in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }
            /// What it means, for documentation.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}

api_enum! {
    /// Types of conditions.
    ConditionType {
        /// The operator can use the printer.
        Ready,
        /// The printer answers.
        Reachable,
        /// The printer accepts the code or password.
        Authorized,
        /// The printer lets itself be controlled over the network.
        ControlAllowed,
        /// The printer may be given jobs.
        Trusted,
        /// Nothing lies on the bed.
        BedCleared,
        /// The printer does nothing.
        Idle,
        /// What the spec declares of the printer agrees with what the device reports.
        SpecMatchesDevice,
        /// The job can be printed as it is written.
        Accepted,
        /// The job was given a printer.
        Scheduled,
        /// The print was seen running.
        Started,
        /// Nobody knows what became of the print; a person must answer.
        OutcomeUnknown,
        /// The job ended well.
        Complete,
        /// The job ended without a part.
        Failed,
        /// The target of the backups answers as it must.
        TargetReachable,
        /// The last backup was made, all of it and in time.
        LastBackupSucceeded,
        /// No more could be lost today than the objective allows.
        RecoveryPointObjectiveMet,
        /// A restore takes no longer than the objective allows.
        RecoveryTimeObjectiveMet,
        /// The last check found the repository whole.
        IntegrityVerified,
        /// The last restore drill gave back what was backed up.
        RestoreVerified,
        /// Present and True only while the operator is still working the object out (kstatus).
        Reconciling,
        /// Present and True only when the object cannot get on without a person (kstatus).
        Stalled,
    }
}

api_enum! {
    /// Reasons of conditions.
    Reason {
        /// The printer can be used.
        PrinterReady,
        /// The object was deleted and stays until its print has ended.
        BeingDeleted,
        /// The operator is connected to the printer.
        Connected,
        /// The first connection has not been made yet.
        Connecting,
        /// The printer does not answer.
        Unreachable,
        /// The printer was reached at an address that is not allowed.
        AddressForbidden,
        /// The spec names something that cannot be, for example a port that is none.
        InvalidSpec,
        /// What answers at the address is not the kind of printer the spec names, or does not prove to be it.
        WrongProtocol,
        /// The code or password is accepted.
        CredentialsAccepted,
        /// The printer refuses the code or password.
        CredentialsRefused,
        /// The Secret is missing, or the operator may not read it.
        SecretNotFound,
        /// The Secret lacks a key, or its value cannot be used.
        SecretKeyMissing,
        /// The Secret does not carry the usage label.
        SecretNotLabeled,
        /// The device at the address has another serial number than the one that is pinned.
        WrongSerialNumber,
        /// Another Printer stands for the same device.
        DuplicateDevice,
        /// This kind of connection is not supported by this version.
        ConnectionNotSupported,
        /// A start proved that the printer can be controlled.
        ControlProven,
        /// No start has proven yet that the printer can be controlled.
        NotProvenYet,
        /// The printer refuses to be controlled over the network.
        ControlRefused,
        /// Nothing speaks against giving the printer jobs.
        NoDistrust,
        /// The device shows a print of this operator's kind that this cluster does not know.
        AnotherOperator,
        /// The printer refused a start.
        StartRefused,
        /// A start was given up at the printer's screen.
        StartAborted,
        /// Two prints in a row have failed on the printer.
        Quarantined,
        /// The bed is clear.
        Cleared,
        /// Nobody has confirmed yet that the bed of this printer is clear.
        NeverConfirmed,
        /// A finished part lies on the bed.
        PartOnBed,
        /// A failed or cancelled print lies on the bed.
        FailedPrintOnBed,
        /// Something that was not started by this operator lies, or may lie, on the bed.
        ForeignPrintOnBed,
        /// It is not known what lies on the bed.
        Unconfirmed,
        /// A print is running.
        PrintInProgress,
        /// The printer is idle.
        NothingRunning,
        /// The printer prints one of our jobs.
        Printing,
        /// The printer is busy with something that this operator did not start.
        Occupied,
        /// The printer waits for a person.
        Attention,
        /// The state of the device is not known.
        StateUnknown,
        /// Spec and device agree, as far as both say something.
        NoContradiction,
        /// The spec says one thing and the device another.
        Contradicted,
        /// The job can be printed.
        FileRead,
        /// The job's file is being fetched.
        FetchingFile,
        /// The file is not at its source.
        FileNotFound,
        /// The source does not answer.
        SourceUnreachable,
        /// The source is not on the list of allowed addresses, its Secret may not be used for it, or it refuses access.
        SourceForbidden,
        /// The certificate of the source is not trusted, or the ones named for that are missing or cannot be used.
        CertificateNotTrusted,
        /// The operator's file cache has no room, or its disk cannot be used.
        FileCacheUnusable,
        /// The file is larger than allowed.
        FileTooLarge,
        /// The file is empty.
        FileEmpty,
        /// The server does not say where the file ends.
        FileLengthUnknown,
        /// The file does not have the digest the job names or had at first.
        DigestMismatch,
        /// The file is not a print file.
        NotAPrintFile,
        /// The file is a project that was not sliced.
        Unsliced,
        /// The file has no sliced plate of the number the job names.
        MissingPlate,
        /// The file is damaged.
        FileCorrupt,
        /// Neither the file nor the job says which printers the file is for.
        MachineUnstated,
        /// This kind of file or source is not supported by this version.
        NotSupported,
        /// The object is a copy of a job that was printed.
        CopyOfPrintedJob,
        /// A job of this name and runID was printed before.
        AlreadyPrinted,
        /// The job waits for a printer.
        Queued,
        /// The job is the next for a printer whose bed is not confirmed clear.
        WaitingForBed,
        /// The job is the next for a printer that cannot be used at the moment.
        WaitingForPrinter,
        /// The job's file cannot be had at present, with a printer free for it.
        WaitingForFile,
        /// The job is held back by desiredState: Pause.
        Held,
        /// No printer can print the job.
        NoMatchingPrinter,
        /// The job was given a printer.
        Assigned,
        /// The claim on the printer was given back.
        ClaimReleased,
        /// The job waits until its next attempt.
        BackingOff,
        /// The file is uploaded next.
        UploadPending,
        /// The file is being uploaded.
        Uploading,
        /// The upload did not succeed and is tried again.
        UploadFailed,
        /// The start is about to be sent.
        StartPending,
        /// The start was or may have been sent and is being watched for.
        StartSent,
        /// The printer does not delete the job's file, which must go before the job lets go of the printer.
        FileNotDeleted,
        /// The printer asks something before the print, which may be a note that goes away by itself.
        PrinterAsks,
        /// The print was seen running.
        PrintSeen,
        /// The printer has not answered for a while; the print is taken to go on.
        PrinterSilent,
        /// The print is not shown as running any more, and is watched for.
        NotShown,
        /// The printer asks something before the print, and a person must answer.
        WaitingAtPrinter,
        /// The print was paused as asked.
        PausedAsAsked,
        /// The print was paused at the machine.
        PausedAtPrinter,
        /// The printer has not answered for a long time while it holds the job.
        PrinterUnreachable,
        /// Nothing is unknown.
        OutcomeKnown,
        /// After a full window of live reports the device shows no sign of the start.
        NoSignOfStart,
        /// The print ended without being seen running or ending.
        EndNotSeen,
        /// The device forgot what it was doing.
        IdentityErased,
        /// Another print runs on the printer.
        ForeignPrint,
        /// The device shows the job's file but this cluster has no record of its upload.
        NoRecordOfUpload,
        /// The Printer object is gone or no longer holds the job.
        PrinterGone,
        /// The print ended well.
        PrintSucceeded,
        /// The print failed.
        PrintFailed,
        /// The job was cancelled.
        Cancelled,
        /// The job did not start in time.
        DeadlineExceeded,
        /// A person answered.
        AnsweredByPerson,
        /// The policy runs as it is written.
        PolicyReady,
        /// Nothing begins by itself, as asked.
        Suspended,
        /// A schedule names a time that cannot be, or never comes.
        InvalidSchedule,
        /// The time zone is none of the IANA database.
        UnknownTimeZone,
        /// The operator was not told the image of the pods.
        BackupImageUnset,
        /// The ConfigMap, or its key, is missing.
        ConfigMapNotFound,
        /// A volume is missing or is being deleted.
        VolumeNotFound,
        /// A volume that is in use elsewhere cannot be read.
        VolumeInUse,
        /// The target is another one than the one that holds the backups, and nobody has confirmed that.
        TargetChanged,
        /// The name of an object the policy needs is taken.
        NameTaken,
        /// Kubernetes does not allow what the policy needs.
        Forbidden,
        /// A pod of the policy cannot begin.
        PodNotStarted,
        /// Nothing is known, for no run has ended yet.
        NothingRunYet,
        /// The spec names no objective.
        NoObjective,
        /// The objective is met.
        ObjectiveMet,
        /// The objective is missed.
        ObjectiveMissed,
        /// Nobody looks whether it holds.
        NotVerified,
        /// It was verified too long ago.
        VerificationOutdated,
        /// A backup was due and was not begun in time.
        BackupMissed,
        /// The run has done all it had to.
        RunSucceeded,
        /// The target answers.
        TargetAnswers,
        /// What the run was told cannot be.
        InvalidConfiguration,
        /// A source is not there or cannot be read.
        SourceUnavailable,
        /// A source was read and is damaged.
        SourceDamaged,
        /// A source was read and there is nothing in it.
        SourceEmpty,
        /// The target does not answer.
        TargetUnreachable,
        /// The target answers and refuses.
        TargetRefused,
        /// The bucket, or the volume's directory, is not there.
        TargetNotFound,
        /// The target is full.
        TargetFull,
        /// No repository is where the backups were.
        RepositoryMissing,
        /// Another repository is where the backups were.
        RepositoryReplaced,
        /// The password does not open the repository.
        WrongPassword,
        /// Another run held the repository for too long.
        RepositoryLocked,
        /// The repository is damaged.
        RepositoryDamaged,
        /// There is no recovery point to restore.
        NoRecoveryPoint,
        /// What was restored is not what was backed up.
        RestoreDiffers,
        /// The backup is at the target, and a copy of it was not made.
        CopyFailed,
        /// The run was told to stop, or took too long.
        Interrupted,
        /// The run failed otherwise, or left no report.
        RunFailed,
    }
}

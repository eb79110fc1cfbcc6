//! What a server or the network says, turned into what to do about it.

use std::error::Error as _;
use std::fmt::Write as _;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::error::{Error, Exit};

/// What kind of failure it is, as far as somebody decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no such object.
    Missing,
    /// There is no such upload: it was ended or given up.
    NoUpload,
    /// There is such an object, or another one than there was.
    Replaced,
    /// The server does not know how to do that.
    CannotDo,
    /// The object is in cold storage.
    Cold,
    /// It was asked for already.
    InProgress,
    /// Another time it may succeed.
    Passing,
    /// It will not succeed.
    Final,
}

/// A request that failed, and why.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    message: String,
}

impl Fault {
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let (code, message) = (service.err().code(), service.err().message());
                let status = service.raw().status().as_u16();
                Self::said(
                    status,
                    code.unwrap_or_default(),
                    message.unwrap_or_default(),
                )
            }
            SdkError::ResponseError(response) => {
                let status = response.raw().status().as_u16();
                let mut fault = Self::said(status, "", &causes(error));
                fault.kind = Kind::Passing;
                fault
            }
            SdkError::TimeoutError(_) => Self::new(
                Kind::Passing,
                "no answer in time; look at the network, and run this again: what is done is \
                 not done twice",
            ),
            other => Self::not_sent(&causes(other)),
        }
    }

    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The network, or what has to be known before anything is sent.
    fn not_sent(causes: &str) -> Self {
        let lower = causes.to_ascii_lowercase();
        if lower.contains("credential") || lower.contains("identity") {
            return Self::new(
                Kind::Final,
                format!(
                    "no credentials ({causes}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                     or AWS_PROFILE"
                ),
            );
        }
        if lower.contains("region") {
            return Self::new(
                Kind::Final,
                format!("no region ({causes}): give one with --region or AWS_REGION"),
            );
        }
        Self::new(
            Kind::Passing,
            format!(
                "the connection failed or was cut ({causes}); look at the network and \
                 --endpoint, and run this again: what is done is not done twice"
            ),
        )
    }

    /// What the server said. HEAD is answered without a body, so the code may be empty.
    fn said(status: u16, code: &str, message: &str) -> Self {
        let mut told = format!("{status}");
        if !code.is_empty() {
            let _ = write!(told, " {code}");
        }
        if !message.is_empty() {
            let _ = write!(told, ": {}", message.trim());
        }
        let (kind, advice) = meaning(status, code);
        let separator = if advice.is_empty() { "" } else { "; " };
        Self::new(kind, format!("the server says {told}{separator}{advice}"))
    }

    /// The error for the object or bucket `at`.
    pub(super) fn at(self, at: &str, action: &str) -> Error {
        Error::Refused {
            path: at.into(),
            message: format!("cannot {action}: {}", self.message),
            exit: match self.kind {
                Kind::Missing => Exit::Damaged,
                _ => Exit::Failed,
            },
        }
    }
}

const LATER: &str = "the server is busy or failing, and was asked several times: run this again \
                     later; what is done is not done twice";

/// What an answer means, and what to do about it.
fn meaning(status: u16, code: &str) -> (Kind, &'static str) {
    match code {
        "NoSuchKey" | "NotFound" => (Kind::Missing, "bring the object back"),
        "NoSuchUpload" => (Kind::NoUpload, "run this again"),
        "InvalidPart" | "InvalidPartOrder" => (
            Kind::Passing,
            "somebody else was at the same upload: run this again",
        ),
        "NotImplemented" | "MethodNotAllowed" => (Kind::CannotDo, "this server cannot do that"),
        "InvalidStorageClass" => (
            Kind::Final,
            "take another --storage-class, one that this server knows",
        ),
        "NoSuchBucket" => (
            Kind::Final,
            "make the bucket, or look at its name and at --endpoint",
        ),
        "InvalidObjectState" => (
            Kind::Cold,
            "it lies in cold storage: bring it up with `dtar thaw`, and wait with --wait",
        ),
        "RestoreAlreadyInProgress" => (Kind::InProgress, ""),
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => (
            Kind::Final,
            "the credentials have expired: renew them and run this again; what is done is not \
             done twice",
        ),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" => (
            Kind::Final,
            "the credentials are not right: look at AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        ),
        "RequestTimeTooSkewed" => (Kind::Final, "set this machine's clock"),
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "IllegalLocationConstraintException" => (
            Kind::Final,
            "the bucket is in another region: name it with --region",
        ),
        // Also in an answer that says 200.
        "InternalError" | "ServiceUnavailable" | "SlowDown" | "RequestTimeout" => {
            (Kind::Passing, LATER)
        }
        "GlacierExpeditedRetrievalNotAvailable" => (
            Kind::Passing,
            "take another --tier, or run this again later",
        ),
        "BadDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody" => (
            Kind::Passing,
            "bytes were altered on the way: run this again",
        ),
        _ => match status {
            301 | 307 | 308 => (
                Kind::Final,
                "the bucket is in another region: name it with --region",
            ),
            401 | 403 => (
                Kind::Final,
                "not allowed, or the credentials have expired: look at them and at the rights \
                 that they have in this bucket",
            ),
            404 => (Kind::Missing, "look at the names of bucket and prefix"),
            409 => (Kind::InProgress, ""),
            405 | 501 => (Kind::CannotDo, "this server cannot do that"),
            412 => (
                Kind::Replaced,
                "the object was replaced meanwhile: run this again",
            ),
            408 | 429 | 500..=599 => (Kind::Passing, LATER),
            _ => (Kind::Final, ""),
        },
    }
}

/// An error and what caused it, once each.
fn causes<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: std::error::Error + 'static,
{
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            let separator = if text.is_empty() { "" } else { ": " };
            let _ = write!(text, "{separator}{said}");
        }
        cause = error.source();
    }
    if text.is_empty() {
        text = error.to_string();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_says_what_to_do() {
        for (status, code, kind, words) in [
            (404, "NoSuchKey", Kind::Missing, "bring the object back"),
            (404, "NoSuchBucket", Kind::Final, "make the bucket"),
            (403, "InvalidObjectState", Kind::Cold, "dtar thaw"),
            (400, "ExpiredToken", Kind::Final, "have expired: renew"),
            (403, "AccessDenied", Kind::Final, "rights"),
            (409, "RestoreAlreadyInProgress", Kind::InProgress, "409"),
            (503, "SlowDown", Kind::Passing, "later"),
            (200, "InternalError", Kind::Passing, "later"),
            (500, "", Kind::Passing, "later"),
            (404, "", Kind::Missing, "404"),
            (404, "NoSuchUpload", Kind::NoUpload, "run this again"),
            (501, "NotImplemented", Kind::CannotDo, "cannot do that"),
            (501, "", Kind::CannotDo, "cannot do that"),
            (412, "PreconditionFailed", Kind::Replaced, "replaced"),
            (403, "RequestTimeTooSkewed", Kind::Final, "clock"),
        ] {
            let fault = Fault::said(status, code, "so it is");
            assert_eq!(fault.kind, kind, "{status} {code}");
            let text = fault.at("s3://b/k", "read it").to_string();
            assert!(
                text.contains(words) && text.contains("s3://b/k: cannot read it"),
                "{text}"
            );
        }
    }

    #[test]
    fn before_anything_is_sent_it_is_credentials_or_the_network() {
        let fault = Fault::not_sent("no providers in chain provided credentials");
        assert_eq!(fault.kind, Kind::Final);
        assert!(fault.message.contains("AWS_ACCESS_KEY_ID"));
        assert_eq!(Fault::not_sent("connection refused").kind, Kind::Passing);
    }
}

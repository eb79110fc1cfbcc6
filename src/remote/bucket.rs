//! An object store, as far as dtar needs one. All that is asynchronous ends here: each call
//! blocks, and may be made from several threads at once.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{
    RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{
    ArchiveStatus, ChecksumMode, GlacierJobParameters, RestoreRequest, ServerSideEncryption,
    StorageClass, Tier,
};
use aws_smithy_http_client::tls;
use bytes::Bytes;
use tokio::runtime::Runtime;

use super::checksum::Checksums;
use super::connector::Patient;
use super::fault::{Fault, Kind};
use super::pace::{Pace, Paced};
use super::place::Place;
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::store::away::AwayPlace;

/// How often a request is tried, unless `AWS_MAX_ATTEMPTS` says otherwise.
const ATTEMPTS: u32 = 8;
/// How often an object is written that the server has got altered.
const PUTS: u32 = 3;
/// How often in a row a download may be cut without a byte having come.
const CUTS: u32 = 8;
/// Waits between these attempts, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const MOST_WAIT: Duration = Duration::from_secs(20);
/// A request in which nothing moves for so long is given up and tried again.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);

/// The storage class that nobody names.
const STANDARD: &str = "STANDARD";
const ALTERED: &str = "altered on the way: the server has got other bytes than were sent, by its \
                       own checksum; look at the network, and run this again";

/// How to reach an object store.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The URL of a server that is not Amazon's.
    pub endpoint: Option<String>,
    /// The region, if not that of the environment.
    pub region: Option<String>,
    /// Bytes a second at most, of all transfers together.
    pub limit_rate: Option<u64>,
    /// How long nothing may move in a request, before it is tried again.
    pub patience: Option<Duration>,
}

impl Access {
    /// The URL of the server, as given or in the environment.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        let variable = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
        self.endpoint
            .clone()
            .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
            .or_else(|| variable("AWS_ENDPOINT_URL"))
    }

    fn patience(&self) -> Duration {
        self.patience.unwrap_or(DEFAULT_PATIENCE)
    }
}

/// A place in an object store, open.
pub struct Bucket {
    place: Place,
    endpoint: Option<String>,
    client: Client,
    pub(super) pace: Option<Arc<Pace>>,
    // Dropped last.
    runtime: Runtime,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its length in bytes.
    pub length: u64,
    /// What the server calls its content, without quotes.
    pub etag: Option<String>,
    /// Whether the etag may be an MD5 (or that of the parts' MD5s).
    pub etag_is_md5: bool,
    /// SHA-256 in base64, of the parts' hashes if it ends in `-` and their number.
    pub sha256: Option<String>,
    /// Its storage class, unless it is the standard one.
    pub class: Option<String>,
    /// When a rule of the bucket deletes it, in the server's words, if one does.
    pub expiry: Option<String>,
    /// Whether it can be read.
    pub state: State,
}

/// Whether an object can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// At any time.
    Hot,
    /// For now, up to the time that the server names.
    Thawed(String),
    /// It was asked for and will be readable.
    Thawing,
    /// It has to be thawed first.
    Cold,
}

impl State {
    /// Whether it can be read now.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        matches!(self, Self::Hot | Self::Thawed(_))
    }
}

/// What came of asking for an object in cold storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It is on its way.
    Accepted,
    /// It was on its way already.
    Already,
}

impl Bucket {
    /// Opens a place. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Internal`] if the threads for the network cannot be started.
    pub fn open(place: &Place, access: &Access) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("dtar network")
            .enable_io()
            .enable_time()
            .build()
            .map_err(Error::io("start threads for", "the network"))?;
        let endpoint = access.endpoint();
        let config = runtime.block_on(load(access, endpoint.as_deref()));
        let client = Client::from_conf(
            aws_sdk_s3::config::Builder::from(&config)
                // A bucket is no part of the host name there.
                .force_path_style(endpoint.is_some())
                // Every upload carries its own, which all servers take.
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
                .stalled_stream_protection(
                    StalledStreamProtectionConfig::enabled()
                        .grace_period(access.patience())
                        .build(),
                )
                .build(),
        );
        Ok(Self {
            place: place.clone(),
            endpoint,
            client,
            pace: access.limit_rate.map(|rate| Arc::new(Pace::new(rate))),
            runtime,
        })
    }

    /// The place.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The URL of the server, if it is not Amazon's.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// How away lists name it.
    pub(super) fn away_place(&self) -> AwayPlace {
        AwayPlace {
            url: self.place.to_string(),
            endpoint: self.endpoint.clone(),
            class: None,
        }
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a request to its end.
    pub(super) fn send<T, E>(
        &self,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Fault>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let answer = self.runtime.block_on(request);
        answer.map_err(|error| Fault::of(&error))
    }

    pub(super) fn error(&self, fault: Fault, path: &str, action: &str) -> Error {
        fault.at(&self.place.show(path), action)
    }

    /// Looks at the object for the file `path` of a store; `None`: there is none.
    ///
    /// # Errors
    /// What the server or the network says.
    pub fn look_at(&self, path: &str) -> Result<Option<Object>> {
        let request = self
            .client
            .head_object()
            .bucket(self.place.bucket())
            .key(self.place.key(path))
            .checksum_mode(ChecksumMode::Enabled);
        match self.send(request.send()) {
            Ok(found) => Ok(Some(Object::of(&found))),
            Err(fault) if fault.kind == Kind::Missing => Ok(None),
            Err(fault) => Err(self.error(fault, path, "look at it")),
        }
    }

    /// Hands the bytes of an object to `take`, in order and each once; cut connections are
    /// taken up where they broke. None are handed over of an object of more than `most`
    /// bytes.
    ///
    /// # Errors
    /// What the server or the network says, also after several attempts;
    /// [`Error::Interrupted`]; those of `take`.
    pub fn read(
        &self,
        path: &str,
        most: u64,
        monitor: &Monitor,
        take: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Read> {
        let mut reading = Reading {
            most,
            ..Reading::default()
        };
        let (mut cuts, mut wait) = (0, FIRST_WAIT);
        loop {
            let before = reading.position;
            match self.read_on(path, &mut reading, monitor, take)? {
                Step::End(read) => return Ok(read),
                Step::Cut(fault) => {
                    if reading.position > before {
                        (cuts, wait) = (0, FIRST_WAIT);
                    }
                    cuts += 1;
                    if cuts >= CUTS {
                        return Err(self.error(fault, path, "read it"));
                    }
                    super::wait::sleep(wait, monitor)?;
                    wait = (wait * 2).min(MOST_WAIT);
                }
            }
        }
    }

    /// Reads on from where `reading` stands.
    fn read_on(
        &self,
        path: &str,
        reading: &mut Reading,
        monitor: &Monitor,
        take: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Step> {
        monitor.check()?;
        let mut request = self
            .client
            .get_object()
            .bucket(self.place.bucket())
            .key(self.place.key(path));
        if reading.position > 0 {
            request = request
                .range(format!("bytes={}-", reading.position))
                .set_if_match(reading.etag.clone());
        }
        let mut answer = match self.send(request.send()) {
            Ok(answer) => answer,
            Err(fault) if fault.kind == Kind::Missing && reading.length.is_none() => {
                return Ok(Step::End(Read::Missing));
            }
            Err(fault) if fault.kind == Kind::Cold => {
                return Ok(Step::End(Read::Cold(self.error(fault, path, "read it"))));
            }
            Err(fault) => return Err(self.error(fault, path, "read it")),
        };
        let length = answer
            .content_length()
            .and_then(|length| u64::try_from(length).ok());
        let length = length.ok_or_else(|| {
            let fault = Fault::new(Kind::Final, "the server does not say how long it is");
            self.error(fault, path, "read it")
        })?;
        if reading.length.is_none() {
            if length > reading.most {
                return Ok(Step::End(Read::TooLong(length)));
            }
            reading.length = Some(length);
            reading.etag = answer.e_tag().map(str::to_owned);
        } else if Some(reading.position.saturating_add(length)) != reading.length {
            // Some servers overlook ranges.
            let fault = Fault::new(Kind::Final, "the server does not give a part of it");
            return Err(self.error(fault, path, "read on in it"));
        }
        let cut = self.runtime.block_on(async {
            loop {
                match answer.body.try_next().await {
                    Ok(None) => return Ok(None),
                    Err(error) => return Ok(Some(error.to_string())),
                    Ok(Some(bytes)) => {
                        if let Some(pace) = &self.pace {
                            pace.wait(bytes.len()).await;
                        }
                        monitor.check()?;
                        take(&bytes)?;
                        reading.position += bytes.len() as u64;
                    }
                }
            }
        })?;
        if Some(reading.position) == reading.length {
            return Ok(Step::End(Read::All(reading.position)));
        }
        let why = cut.unwrap_or_else(|| "the answer ended early".to_owned());
        Ok(Step::Cut(Fault::new(
            Kind::Passing,
            format!(
                "the connection was cut again and again ({why}); look at the network, and run \
                 this again: what is done is not done twice"
            ),
        )))
    }

    /// Writes an object at once. `checksums` are those of `bytes`.
    ///
    /// # Errors
    /// What the server or the network says.
    pub(super) fn write(
        &self,
        path: &str,
        bytes: &Bytes,
        checksums: &Checksums,
        class: Option<&str>,
    ) -> Result<()> {
        let put = self.put(path, bytes, checksums, (class, false));
        put.map_err(|fault| self.error(fault, path, "write it"))
    }

    /// As [`Bucket::write`], if there is no such object; whether there was none, as far as
    /// the server looks.
    ///
    /// # Errors
    /// What the server or the network says.
    pub(super) fn write_new(&self, path: &str, bytes: &Bytes) -> Result<bool> {
        let checksums = Checksums::of(bytes);
        let mut put = self.put(path, bytes, &checksums, (None, true));
        if matches!(&put, Err(fault) if fault.kind == Kind::CannotDo) {
            put = self.put(path, bytes, &checksums, (None, false));
        }
        match put {
            Ok(()) => Ok(true),
            Err(fault) if fault.kind == Kind::Replaced => Ok(false),
            Err(fault) => Err(self.error(fault, path, "write it")),
        }
    }

    fn put(
        &self,
        path: &str,
        bytes: &Bytes,
        checksums: &Checksums,
        (class, mut is_new): (Option<&str>, bool),
    ) -> Result<(), Fault> {
        for _ in 0..PUTS {
            if self.put_once(path, bytes, checksums, (class, is_new))? {
                return Ok(());
            }
            // It must not stay: by its length it would count as the file.
            is_new = false;
        }
        self.delete(path);
        Err(Fault::new(Kind::Passing, ALTERED))
    }

    /// Whether the server has got what was sent, by its own checksums.
    fn put_once(
        &self,
        path: &str,
        bytes: &Bytes,
        checksums: &Checksums,
        (class, is_new): (Option<&str>, bool),
    ) -> Result<bool, Fault> {
        let request = self
            .client
            .put_object()
            .bucket(self.place.bucket())
            .key(self.place.key(path))
            .set_if_none_match(is_new.then(|| "*".to_owned()))
            .set_storage_class(class.map(StorageClass::from))
            .content_length(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
            .content_md5(checksums.md5())
            .checksum_sha256(checksums.sha256())
            .body(self.body(bytes));
        let answer = self.send(request.send())?;
        let is_kms = is_kms(answer.server_side_encryption());
        let sha256 = answer.checksum_sha256();
        Ok((is_kms || checksums.may_be(answer.e_tag()))
            && sha256.is_none_or(|sha256| sha256 == checksums.sha256()))
    }

    /// Deletes what must not stay. That it fails is not said.
    fn delete(&self, path: &str) {
        let request = self
            .client
            .delete_object()
            .bucket(self.place.bucket())
            .key(self.place.key(path));
        let _ = self.send(request.send());
    }

    /// What the server has got is not what was sent.
    pub(super) fn altered(&self, path: &str) -> Error {
        self.error(Fault::new(Kind::Passing, ALTERED), path, "write it")
    }

    /// A body that can be sent again, should the connection be cut.
    pub(super) fn body(&self, bytes: &Bytes) -> ByteStream {
        let (bytes, pace) = (bytes.clone(), self.pace.clone());
        let body = move || SdkBody::from_body_1_x(Paced::new(bytes.clone(), pace.clone()));
        ByteStream::new(SdkBody::retryable(body))
    }

    /// Asks for an object in cold storage to become readable for some days. `class` is its
    /// storage class.
    ///
    /// # Errors
    /// What the server or the network says; a class that is not thawed so.
    pub fn thaw(&self, path: &str, class: Option<&str>, tier: &str, days: u32) -> Result<Asked> {
        let class = class.unwrap_or(STANDARD);
        if (class, tier) == ("DEEP_ARCHIVE", "Expedited") {
            let fault = Fault::new(
                Kind::Final,
                "it is of class DEEP_ARCHIVE, which knows no expedited tier: take --tier standard \
                 or bulk",
            );
            return Err(self.error(fault, path, "ask for it"));
        }
        let parameters = GlacierJobParameters::builder()
            .tier(Tier::from(tier))
            .build()
            .map_err(|error| Error::Internal(error.to_string()))?;
        // There it moves to where it can be read, and stays.
        let days =
            (class != "INTELLIGENT_TIERING").then(|| i32::try_from(days).unwrap_or(i32::MAX));
        let restore = RestoreRequest::builder()
            .set_days(days)
            .glacier_job_parameters(parameters)
            .build();
        let request = self
            .client
            .restore_object()
            .bucket(self.place.bucket())
            .key(self.place.key(path))
            .restore_request(restore);
        match self.send(request.send()) {
            Ok(_) => Ok(Asked::Accepted),
            Err(fault) if fault.kind == Kind::InProgress => Ok(Asked::Already),
            Err(fault) if matches!(fault.kind, Kind::Cold | Kind::CannotDo) => {
                let fault = Fault::new(
                    Kind::Final,
                    format!(
                        "the server does not thaw objects of its storage class, {class}: look up \
                         how its keeper brings such objects up, and restore then with --wait"
                    ),
                );
                Err(self.error(fault, path, "ask for it"))
            }
            Err(fault) => Err(self.error(fault, path, "ask for it")),
        }
    }
}

/// What came of reading an object.
#[derive(Debug)]
pub enum Read {
    /// All of it was handed over: so many bytes.
    All(u64),
    /// There is no such object.
    Missing,
    /// It lies in cold storage, or does so again: what the server says.
    Cold(Error),
    /// It is longer than it may be: so many bytes.
    TooLong(u64),
}

/// What came of an attempt.
enum Step {
    End(Read),
    /// Another may help.
    Cut(Fault),
}

/// How far an object was read.
#[derive(Default)]
struct Reading {
    most: u64,
    position: u64,
    length: Option<u64>,
    etag: Option<String>,
}

impl Object {
    fn of(found: &HeadObjectOutput) -> Self {
        let class = found.storage_class().map(StorageClass::as_str);
        let is_archived = matches!(class, Some("GLACIER" | "DEEP_ARCHIVE"))
            || matches!(
                found.archive_status(),
                Some(ArchiveStatus::ArchiveAccess | ArchiveStatus::DeepArchiveAccess)
            );
        Self {
            length: found
                .content_length()
                .and_then(|length| u64::try_from(length).ok())
                .unwrap_or_default(),
            etag: found.e_tag().map(|tag| tag.trim_matches('"').to_owned()),
            etag_is_md5: !is_kms(found.server_side_encryption())
                && found.sse_customer_algorithm().is_none(),
            sha256: found.checksum_sha256().map(str::to_owned),
            class: class.filter(|class| *class != STANDARD).map(str::to_owned),
            expiry: found.expiration().map(str::to_owned),
            state: state(is_archived, found.restore()),
        }
    }
}

pub(super) fn is_kms(encryption: Option<&ServerSideEncryption>) -> bool {
    matches!(
        encryption,
        Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)
    )
}

/// By the header `x-amz-restore`, such as `ongoing-request="false", expiry-date="…"`.
fn state(is_archived: bool, restore: Option<&str>) -> State {
    match restore {
        Some(restore) if restore.contains("ongoing-request=\"true\"") => State::Thawing,
        Some(restore) if restore.contains("ongoing-request=\"false\"") => {
            let expiry = restore.split("expiry-date=\"").nth(1);
            let expiry = expiry.and_then(|rest| rest.split('"').next());
            State::Thawed(expiry.unwrap_or("a time that it does not say").to_owned())
        }
        _ if is_archived => State::Cold,
        _ => State::Hot,
    }
}

async fn load(access: &Access, endpoint: Option<&str>) -> SdkConfig {
    let builder = aws_smithy_http_client::Builder::new();
    let client = if endpoint.is_some_and(|url| url.starts_with("http://")) {
        builder.build_http()
    } else {
        let ring = tls::rustls_provider::CryptoMode::Ring;
        builder
            .tls_provider(tls::Provider::Rustls(ring))
            .build_https()
    };
    let timeouts = aws_config::timeout::TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(Patient::new(client, access.patience()))
        .timeout_config(timeouts);
    if std::env::var_os("AWS_MAX_ATTEMPTS").is_none() {
        loader = loader.retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_max_backoff(MOST_WAIT),
        );
    }
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let config = loader.load().await;
    if config.region().is_some() || endpoint.is_none() {
        return config;
    }
    // Other servers mostly take any; nobody should have to name one.
    config
        .into_builder()
        .region(Region::from_static("us-east-1"))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_of_thawing_is_understood() {
        let ongoing = "ongoing-request=\"true\"";
        let done = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"";
        for (is_archived, restore, expected) in [
            (false, None, State::Hot),
            (true, None, State::Cold),
            (true, Some(ongoing), State::Thawing),
            (
                true,
                Some(done),
                State::Thawed("Fri, 21 Dec 2012 00:00:00 GMT".into()),
            ),
        ] {
            assert_eq!(state(is_archived, restore), expected);
        }
    }
}

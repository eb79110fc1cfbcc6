//! What no server may do to dtar: keep it waiting for ever, or fill its memory with an
//! answer that never ends.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Bytes of an answer that is no object, at most: a page of a listing has 1,000 keys of at
/// most 1,024 bytes.
const MOST_ANSWER: usize = 16 << 20;

/// A client that gives up what does not move.
#[derive(Debug)]
pub(super) struct Patient {
    inner: SharedHttpClient,
    patience: Duration,
}

impl Patient {
    /// Gives a request up if nothing of it was sent for so long, and no answer began.
    pub(super) fn new(inner: SharedHttpClient, patience: Duration) -> Self {
        Self { inner, patience }
    }
}

impl HttpClient for Patient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(PatientConnector {
            inner: self.inner.http_connector(settings, components),
            patience: self.patience,
        })
    }
}

#[derive(Debug)]
struct PatientConnector {
    inner: SharedHttpConnector,
    patience: Duration,
}

impl HttpConnector for PatientConnector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let moved = Arc::new(Moved::default());
        let is_object = request.method() == "GET" && names_object_read(request.uri());
        let body = Watched {
            body: request.take_body(),
            moved: Arc::clone(&moved),
        };
        *request.body_mut() = SdkBody::from_body_1_x(body);
        let (answer, patience) = (self.inner.call(request), self.patience);
        HttpConnectorFuture::new(async move {
            let Some(answer) = moved.while_it_does(answer, patience).await else {
                let why = format!("nothing has moved for {} s", patience.as_secs());
                return Err(ConnectorError::timeout(why.into()));
            };
            let mut answer = answer?;
            if !is_object {
                limit(&mut answer);
            }
            Ok(answer)
        })
    }
}

/// Whether the query says, as that of the SDK does, that an object is read.
fn names_object_read(uri: &str) -> bool {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|field| field == "x-id=GetObject")
}

/// When something was sent last; nothing while dtar itself keeps it back, for its pace.
struct Moved(Mutex<Option<Instant>>);

impl Default for Moved {
    fn default() -> Self {
        Self(Mutex::new(Some(Instant::now())))
    }
}

impl Moved {
    fn set(&self, time: Option<Instant>) {
        // Poisoned only if a thread panicked; the time in it is right all the same.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    fn last(&self) -> Instant {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.unwrap_or_else(Instant::now)
    }

    /// What comes of `work`; `None`: nothing has moved for too long.
    async fn while_it_does<W: Future>(&self, work: W, patience: Duration) -> Option<W::Output> {
        let mut work = Box::pin(work);
        loop {
            let end = self.last() + patience;
            if let Ok(done) = tokio::time::timeout_at(end.into(), &mut work).await {
                return Some(done);
            }
            if self.last().elapsed() >= patience {
                return None;
            }
        }
    }
}

/// The body of a request, which tells when something of it goes.
struct Watched {
    body: SdkBody,
    moved: Arc<Moved>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = aws_smithy_types::body::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.moved.set(polled.is_ready().then(Instant::now));
        polled
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

/// Lets no more of an answer through than one may have.
fn limit(answer: &mut HttpResponse) {
    let limited = Limited {
        body: answer.take_body(),
        rest: MOST_ANSWER,
    };
    *answer.body_mut() = SdkBody::from_body_1_x(limited);
}

struct Limited {
    body: SdkBody,
    rest: usize,
}

/// An answer was too long.
#[derive(Debug)]
struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the answer is longer than {MOST_ANSWER} bytes")
    }
}

impl std::error::Error for TooLong {}

impl Body for Limited {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match self.rest.checked_sub(length) {
                Some(rest) => self.rest = rest,
                None => return Poll::Ready(Some(Err(TooLong.into()))),
            }
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_may_be_long() {
        assert!(names_object_read("http://h/b/k?x-id=GetObject"));
        assert!(!names_object_read(
            "http://h/b?list-type=2&prefix=x-id%3DGetObject"
        ));
        assert!(!names_object_read("http://h/b/x-id=GetObject"));
    }

    #[test]
    fn what_moves_is_not_given_up_and_what_stands_still_is() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let patience = Duration::from_millis(200);
        runtime.block_on(async {
            let moved = Arc::new(Moved::default());
            let start = Instant::now();
            let shared = Arc::clone(&moved);
            tokio::spawn(async move {
                for _ in 0..5 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    shared.set(Some(Instant::now()));
                }
            });
            let done = moved.while_it_does(std::future::pending::<()>(), patience);
            assert_eq!(done.await, None);
            assert!(start.elapsed() >= Duration::from_millis(650));
            let done = moved.while_it_does(std::future::ready(7), patience);
            assert_eq!(done.await, Some(7));
        });
    }
}

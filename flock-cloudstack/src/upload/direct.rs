//! Sending an appliance to CloudStack itself: to a secondary storage VM.
//!
//! What the VM wants is in `HttpUploadServerHandler` of CloudStack 4.22: one
//! file in a `multipart/form-data` body (RFC 7578) of stated length, and three
//! headers that say who may send it.

use bytes::Bytes;
use flock_core::progress::Unit;
use flock_core::{Context, Error, ErrorKind, RequestId, Result};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use url::Url;

use super::body::FileBody;
use super::http;
use super::send::watched;
use crate::api::UploadParams;
use crate::error::BACKEND;
use crate::image_builder::{Appliance, DirectUpload, shown};
use crate::tls::{self, Trust};

/// An appliance on its way to CloudStack.
#[derive(Debug)]
pub(crate) struct Direct<'a> {
    pub(crate) ctx: &'a Context,
    pub(crate) appliance: &'a Appliance,
    pub(crate) options: &'a DirectUpload,
    pub(crate) params: &'a UploadParams,
    /// What the file is called, whose extension CloudStack goes by.
    pub(crate) file_name: String,
}

/// How an upload ended.
#[derive(Debug)]
pub(crate) enum Sent {
    /// CloudStack has taken it.
    Accepted,
    /// All of it was sent, and then the connection broke.
    Unknown(Error),
}

impl Direct<'_> {
    /// Sends it, once: the address holds for one try.
    ///
    /// # Errors
    /// Retryable where another try, with a new address, may help. Those of the
    /// certificate say what to do about it. [`ErrorKind::InvalidData`] and
    /// [`ErrorKind::QuotaExceeded`] as CloudStack says;
    /// [`ErrorKind::Conflict`] if the appliance changes meanwhile; the end of
    /// the context.
    pub(crate) async fn run(&self) -> Result<Sent> {
        let url: Url = self.params.post_url.parse().map_err(|source| {
            let message = "CloudStack names no address to upload to";
            Error::new(ErrorKind::InvalidData, message).in_backend(BACKEND).caused_by(source)
        })?;
        let DirectUpload { ca_file, verify_tls } = self.options.clone();
        let client = http::client(self.ctx, Trust { ca_file, verify: verify_tls }).await?;
        let (boundary, body) = self.body();
        let (meter, length) = (body.meter(), self.appliance.length);
        let whole = http_body::Body::size_hint(&body).lower();
        let request = client
            .post(url.clone())
            .header("X-signature", &self.params.signature)
            .header("X-metadata", &self.params.metadata)
            .header("X-expires", &self.params.expires)
            .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
            .header(CONTENT_LENGTH, whole)
            .body(reqwest::Body::wrap(body));
        let label = format!("upload {}", self.appliance.path.display());
        let task = self.ctx.task(label, Unit::Bytes, Some(length));
        let exchange = async { Ok(request.send().await) };
        let response = match watched(self.ctx, &task, &meter, length, exchange).await? {
            Ok(response) => response,
            Err(source) => {
                let error = explained(http::broken(&url, source), &url);
                self.appliance.check_unchanged()?;
                return if meter.sent() == length { Ok(Sent::Unknown(error)) } else { Err(error) };
            }
        };
        if !response.status().is_success() {
            return Err(refused(http::refused(&url, response).await));
        }
        self.appliance.check_unchanged()?;
        task.done();
        Ok(Sent::Accepted)
    }

    /// The body, and what parts it.
    fn body(&self) -> (String, FileBody) {
        let boundary = format!("flock-{}", RequestId::random());
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
             filename=\"{}\"\r\nContent-Type: application/octet-stream\r\n\r\n",
            self.file_name
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let body = FileBody::new(self.appliance.file.clone(), 0..self.appliance.length)
            .between(Bytes::from(head), Bytes::from(tail));
        (boundary, body)
    }
}

/// What to do about a certificate that is not trusted, or a VM that cannot be
/// reached.
fn explained(error: Error, url: &Url) -> Error {
    if tls::is_certificate(&error) {
        let error = error.hint(
            "it is the one of the cloud's secondary storage VM; the one that CloudStack brings \
             along (*.realhostip.com) expired in 2017, and the operator has to install another",
        );
        let error = match tls::is_unknown_authority(&error) {
            true => error.hint("name the authority that signed it (upload.ca_file, --ca-file)"),
            false => error,
        };
        return error.hint(
            "or, if you must, do not verify it for this upload (upload.verify_tls, \
             --insecure-upload)",
        );
    }
    let place = shown(url);
    error.hint(format!(
        "the secondary storage VM at {place} must be reachable from here; where it is not, \
         upload by `put` or `serve`"
    ))
}

/// What CloudStack's refusal means, by its words.
fn refused(error: Error) -> Error {
    let text = error.to_string().to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let again = |kind, message: &str| {
        Error::new(kind, message).in_backend(BACKEND).caused_by(error.clone())
    };
    if has(&["not valid anymore", "signature validation", "already used"]) {
        return again(
            ErrorKind::Unavailable,
            "CloudStack does not accept the upload's signature, or not any more",
        );
    }
    if has(&["type mismatch"]) {
        return again(ErrorKind::InvalidData, "CloudStack finds something else in the appliance")
            .hint("check it with `flock image inspect`");
    }
    if has(&["exceed", "max size", "limit", "maximum"]) {
        return again(ErrorKind::QuotaExceeded, "the appliance is larger than CloudStack allows")
            .hint(
                "the setting max.template.iso.size and the account's secondary storage bound it",
            );
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_become_kinds() {
        let said = |text: &str| {
            refused(Error::new(ErrorKind::InvalidConfig, format!("it does not take that: {text}")))
        };
        let old = said("request not valid anymore.");
        assert!(old.is_retryable());
        for (text, kind) in [
            ("signature validation failed.", ErrorKind::Unavailable),
            (
                "File type mismatch between the sent file and the actual content. Received: ASCII",
                ErrorKind::InvalidData,
            ),
            (
                "Maximum file upload size exceeded. Content Length received: 60GB.",
                ErrorKind::QuotaExceeded,
            ),
            ("received entity is not a file", ErrorKind::InvalidConfig),
        ] {
            assert_eq!(said(text).kind(), kind, "{text}");
        }
    }
}

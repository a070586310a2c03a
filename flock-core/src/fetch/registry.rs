//! The wire of a registry: OCI Distribution Specification 1.1, section
//! "Pull", and the token protocol that registries share (challenges of RFC
//! 9110, section 11.6.1).

use std::sync::Mutex;

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::http::{self, secret_header};
use super::options::FetchOptions;
use super::redact::redacted;
use super::retry::Retries;
use super::{credentials, manifest};
use crate::location::{ImageReference, is_loopback};
use crate::secret::Secret;
use crate::{Context, Error, ErrorKind, Result};

/// The size of a manifest or token answer beyond which it is refused; the
/// specification asks registries to take manifests of 4 MiB.
const MAX_SMALL: usize = 8 << 20;

/// One repository of one registry, and what opens it.
pub(super) struct Registry {
    client: Client,
    options: FetchOptions,
    /// The registry as the user calls it.
    name: String,
    base: Url,
    repository: String,
    login: Option<HeaderValue>,
    /// The `Authorization` header that worked last.
    opened: Mutex<Option<HeaderValue>>,
}

impl Registry {
    pub(super) fn new(
        client: &Client,
        options: &FetchOptions,
        image: &ImageReference,
    ) -> Result<Self> {
        let host = match image.registry() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let insecure = options.insecure_registries.iter().any(|name| name == image.registry());
        let plain = insecure || (image.is_loopback() && !host.ends_with(":443"));
        let scheme = if plain { "http" } else { "https" };
        let base = format!("{scheme}://{host}/v2/{}/", image.repository());
        let base = Url::parse(&base).map_err(|source| {
            Error::new(ErrorKind::InvalidConfig, format!("{image} has no usable address"))
                .caused_by(source)
        })?;
        let login = credentials::for_registry(options, image.registry())?;
        let (repository, opened) = (image.repository().to_owned(), Mutex::new(None));
        let (client, options) = (client.clone(), options.clone());
        let name = image.registry().to_owned();
        Ok(Self { client, options, name, base, repository, login, opened })
    }

    pub(super) fn url(&self, room: &str, name: &str) -> Result<Url> {
        self.base.join(&format!("{room}/{name}")).map_err(|source| {
            Error::new(ErrorKind::InvalidConfig, "the image has no usable address")
                .caused_by(source)
        })
    }

    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// The headers for the next request.
    pub(super) fn headers(&self) -> HeaderMap {
        let opened = self.opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        opened.iter().map(|value| (header::AUTHORIZATION, value.clone())).collect()
    }

    /// Gets a manifest by tag or digest, with retries: its bytes, and the
    /// digest that the registry claims.
    pub(super) async fn manifest(
        &self,
        ctx: &Context,
        name: &str,
    ) -> Result<(Vec<u8>, Option<String>)> {
        let url = self.url("manifests", name)?;
        let mut retries = Retries::new(&self.options);
        loop {
            match self.manifest_once(ctx, &url).await {
                Err(error) => retries.wait(ctx, error).await?,
                found => return found,
            }
        }
    }

    async fn manifest_once(&self, ctx: &Context, url: &Url) -> Result<(Vec<u8>, Option<String>)> {
        let request = || {
            let get = self.client.get(url.clone()).headers(self.headers());
            get.header(header::ACCEPT, manifest::ACCEPT)
        };
        let mut response = send(ctx, request(), url).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.open(ctx, &response).await?;
            response = send(ctx, request(), url).await?;
        }
        self.check(&response, url)?;
        let name = header::HeaderName::from_static("docker-content-digest");
        let digest = http::text(response.headers(), name).map(str::to_owned);
        Ok((small(ctx, response, url).await?, digest))
    }

    /// Renews what opens the registry, after a blob was refused.
    pub(super) async fn reopen(&self, ctx: &Context, url: &Url) -> Result<()> {
        let response = send(ctx, self.client.head(url.clone()), url).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.open(ctx, &response).await?;
        }
        Ok(())
    }

    fn check(&self, response: &Response, url: &Url) -> Result<()> {
        let login = self.login.is_some();
        http::check_status(response, url, login).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let message = format!("{} has no such image", redacted(&self.base));
                Error::new(ErrorKind::NotFound, message).with("url", redacted(url))
                    .hint("check the name and the tag; a private image may hide behind this: check the login too")
            }
            ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => {
                error.hint("log in with `docker login`; registries say the same of images that are not there, so check the name too")
            }
            _ => error,
        })
    }

    /// Answers the challenge of a 401.
    async fn open(&self, ctx: &Context, response: &Response) -> Result<()> {
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        let challenges: Vec<Challenge> =
            challenges.iter().filter_map(|value| Challenge::parse(value.to_str().ok()?)).collect();
        let bearer = challenges.iter().find(|c| c.scheme == "bearer");
        let value = match (bearer, &self.login) {
            (Some(challenge), _) => Some(self.token(ctx, challenge).await?),
            (None, Some(login)) if challenges.iter().any(|c| c.scheme == "basic") => {
                Some(login.clone())
            }
            _ => None,
        };
        *self.opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = value;
        Ok(())
    }

    /// The login for the place where tokens are handed out; see
    /// [`FetchOptions::with_credential`].
    ///
    /// A registry that HTTPS has shown to be the one that was asked could ask
    /// for the login itself, so it may also name who else is to get it. In
    /// plain HTTP anybody on the way could have named that place.
    fn login_for(&self, realm: &Url) -> Result<Option<HeaderValue>> {
        if let Some(own) = credentials::for_url(&self.options, realm)? {
            return Ok(Some(own));
        }
        let same_host = realm.host_str() == self.base.host_str();
        let named_safely = self.base.scheme() == "https" && realm.scheme() == "https";
        match &self.login {
            Some(login) if same_host || named_safely => Ok(Some(login.clone())),
            Some(_) => {
                let place = redacted(realm);
                let message = format!(
                    "the registry sends its users to {place}, and not all of that is HTTPS"
                );
                Err(Error::new(ErrorKind::Unauthenticated, message)
                    .hint("the login is not sent there; speak to the registry in HTTPS, or give a login for that host too"))
            }
            None => Ok(None),
        }
    }

    /// Where what is pulled comes from, for people.
    pub(super) fn origin(&self) -> String {
        format!("oci://{}/{}", self.name, self.repository)
    }

    /// Gets a token for pulling from this repository.
    async fn token(&self, ctx: &Context, challenge: &Challenge) -> Result<HeaderValue> {
        let realm = challenge.get("realm").and_then(|realm| Url::parse(realm).ok());
        let mut url = realm.ok_or_else(|| nonsense("its challenge names no place for tokens"))?;
        // A login does not travel in the clear, unless the registry itself
        // was allowed to be spoken to so.
        let secure = url.scheme() == "https" || is_loopback(&url);
        let allowed = self.base.scheme() == "http" && url.host_str() == self.base.host_str();
        if !(secure || allowed) {
            return Err(nonsense("its tokens are handed out without HTTPS"));
        }
        let login = self.login_for(&url)?;
        let scope = format!("repository:{}:pull", self.repository);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("scope", challenge.get("scope").unwrap_or(&scope));
            if let Some(service) = challenge.get("service") {
                query.append_pair("service", service);
            }
        }
        let mut request = self.client.get(url.clone());
        if let Some(login) = login {
            request = request.header(header::AUTHORIZATION, login);
        }
        let response = send(ctx, request, &url).await?;
        self.check(&response, &url)?;
        let body = small(ctx, response, &url).await?;
        let answer: Token =
            serde_json::from_slice(&body).map_err(|_| nonsense("its token is malformed"))?;
        let token = answer.token.or(answer.access_token);
        let token = token.ok_or_else(|| nonsense("it handed out no token"))?;
        secret_header(&format!("Bearer {}", token.expose()))
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<Secret>,
    access_token: Option<Secret>,
}

fn nonsense(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the registry answered wrongly: {why}"))
}

async fn send(ctx: &Context, request: RequestBuilder, url: &Url) -> Result<Response> {
    ctx.run(async { request.send().await.map_err(|e| http::transport_error(e, url)) }).await
}

/// A body that has to be small.
async fn small(ctx: &Context, mut response: Response, url: &Url) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let next = async { response.chunk().await.map_err(|e| http::transport_error(e, url)) };
        let Some(chunk) = ctx.run(next).await? else { return Ok(body) };
        if body.len() + chunk.len() > MAX_SMALL {
            return Err(nonsense("a manifest is larger than 8 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
}

/// `SCHEME key="value", key=value` of a `WWW-Authenticate` header.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parameters = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let Some((key, value)) = rest.split_once('=') else { break };
            let (value, tail) = parameter_value(value)?;
            parameters.push((key.trim().to_ascii_lowercase(), value));
            rest = tail;
        }
        let scheme = scheme.to_ascii_lowercase();
        (!scheme.is_empty()).then_some(Self { scheme, parameters })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// A token or quoted string (RFC 9110, section 5.6.4), and what follows.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges() {
        let text = r#"Bearer realm="https://a/token",service="a, \"b\"",scope="repository:x:pull""#;
        let challenge = Challenge::parse(text).unwrap();
        assert_eq!(challenge.scheme, "bearer");
        assert_eq!(challenge.get("realm"), Some("https://a/token"));
        assert_eq!(challenge.get("service"), Some("a, \"b\""));
        assert_eq!(challenge.get("scope"), Some("repository:x:pull"));
        let basic = Challenge::parse("Basic realm=x").unwrap();
        assert_eq!((basic.scheme.as_str(), basic.get("realm")), ("basic", Some("x")));
        assert_eq!(Challenge::parse("Basic realm=\"x"), None);
        assert_eq!(Challenge::parse(""), None);
    }

    #[test]
    fn a_login_goes_to_the_token_service_by_the_rule() {
        use crate::fetch::options::Credential;
        let token = |text: &str| Credential::Bearer(Secret::new(text));
        let mut options = FetchOptions::new(crate::cache::Cache::at("/nonexistent"))
            .with_docker_config(None)
            .with_credential("own.example", token("of-realm"))
            .with_insecure_registry("plain.example");
        for registry in ["safe.example", "plain.example", "localhost:5000"] {
            options = options.with_credential(registry, token("of-registry"));
        }
        let client = Client::new();
        let given = |registry: &str, realm: &str| {
            let image = format!("oci://{registry}/x").parse().unwrap();
            let registry = Registry::new(&client, &options, &image).unwrap();
            let login = registry.login_for(&Url::parse(realm).unwrap());
            login.map(|login| login.map(|login| login.to_str().unwrap().to_owned()))
        };
        let own = Some("Bearer of-registry".to_owned());
        assert_eq!(given("safe.example", "https://auth.example/token").unwrap(), own);
        assert_eq!(given("plain.example", "https://plain.example/token").unwrap(), own);
        assert_eq!(given("localhost:5000", "http://localhost:5001/token").unwrap(), own);
        assert_eq!(given("none.example", "https://auth.example/token").unwrap(), None);
        let realm = given("plain.example", "https://own.example/token").unwrap();
        assert_eq!(realm.as_deref(), Some("Bearer of-realm"));
        for (registry, realm) in [
            ("plain.example", "https://auth.example/token"),
            ("localhost:5000", "https://auth.example/token"),
            ("safe.example", "http://localhost/token"),
        ] {
            let error = given(registry, realm).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{registry} {realm}");
        }
    }

    proptest! {
        #[test]
        fn no_challenge_makes_it_panic(text in "(Bearer )?(\\PC|[\",=\\\\])*") {
            let _ = Challenge::parse(&text);
        }
    }
}

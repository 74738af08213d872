//! What is answered to a request.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::reader::Reader;
use crate::observe::metrics::Format;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// One page.
struct Page {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

/// The answer to a request. Bodies of requests are not read.
pub(super) fn respond<B>(request: &Request<B>, reader: &mut Reader) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = response(page(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n"));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let found = match request.uri().path() {
        "/metrics" => metrics(request, reader),
        "/" => landing(reader),
        // That this is answered at all is the answer.
        "/-/healthy" => Ok(page(StatusCode::OK, "healthy\n")),
        "/-/ready" => ready(reader),
        _ => Ok(page(StatusCode::NOT_FOUND, "there is nothing here; see /\n")),
    };
    let failed = |error: anyhow::Error| {
        page(StatusCode::INTERNAL_SERVER_ERROR, &format!("the kernel's counters cannot be read: {error:#}\n"))
    };
    response(found.unwrap_or_else(failed))
}

/// The answer to a request without the right password.
pub(super) fn who_are_you() -> Response<Full<Bytes>> {
    let mut response = response(page(StatusCode::UNAUTHORIZED, "a user and a password are needed\n"));
    let realm = HeaderValue::from_static("Basic realm=\"ollama-guard\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, realm);
    response
}

fn metrics<B>(request: &Request<B>, reader: &mut Reader) -> anyhow::Result<Page> {
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
    Ok(Page { status: StatusCode::OK, kind: format.content_type(), body: reader.metrics(format)? })
}

fn ready(reader: &mut Reader) -> anyhow::Result<Page> {
    Ok(match reader.not_ready()? {
        None => page(StatusCode::OK, "ready\n"),
        Some(why) => page(StatusCode::SERVICE_UNAVAILABLE, &format!("not fully enforcing\n{why}\n")),
    })
}

fn landing(reader: &mut Reader) -> anyhow::Result<Page> {
    let table = escaped(&reader.table()?);
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>ollama-guard</title>\n\
         <style>body{{font-family:sans-serif;margin:2em}}pre{{overflow-x:auto}}</style></head>\n\
         <body><h1>ollama-guard</h1>\n<p><a href=\"/metrics\">Metrics</a> · <a href=\"/-/ready\">Ready?</a></p>\n\
         <pre>{table}</pre></body></html>\n"
    );
    Ok(Page { status: StatusCode::OK, kind: HTML, body })
}

/// An interface may have any name.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn page(status: StatusCode, body: &str) -> Page {
    Page { status, kind: TEXT, body: body.to_owned() }
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let nothing_else = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(nothing_else));
    response
}

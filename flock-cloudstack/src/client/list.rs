//! Lists, page by page.

use std::collections::HashSet;

use flock_core::{Context, Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Client, Parameters, read, reply};
use crate::error::not_protocol;

/// How many items a page has: the most that CloudStack allows as it comes
/// (`default.page.size`), and less where a cloud allows less.
const PAGE_SIZES: [usize; 4] = [500, 200, 50, 10];
/// How often a list is read that changes while it is read.
const MAX_READINGS: usize = 4;

/// A list as read once.
struct Reading<T> {
    items: Vec<T>,
    /// Whether it had as many items as CloudStack counted, each once.
    whole: bool,
}

impl Client {
    /// All items of a list, from all of its pages. `parameters` are those of
    /// the list without `page` and `pagesize`.
    ///
    /// A list that changes between two pages is read again, up to four times;
    /// each item is given once. Safe to cancel.
    ///
    /// # Errors
    /// Those of [`call`](Client::call); [`ErrorKind::InvalidData`] if an item
    /// is not of that type.
    pub async fn list<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        command: &str,
        parameters: &Parameters,
    ) -> Result<Vec<T>> {
        let mut reading = self.read_list(ctx, command, parameters).await?;
        for _ in 1..MAX_READINGS {
            if reading.whole {
                break;
            }
            reading = self.read_list(ctx, command, parameters).await?;
        }
        Ok(reading.items)
    }

    async fn read_list<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        command: &str,
        parameters: &Parameters,
    ) -> Result<Reading<T>> {
        let (mut items, mut seen, mut repeated) = (Vec::new(), HashSet::new(), false);
        let (mut page, mut sizes) = (1, &PAGE_SIZES[..]);
        loop {
            let (found, count, size) =
                self.page(ctx, command, parameters, page, &mut sizes).await?;
            let (length, last) = (found.len(), found.len() < size);
            for item in found {
                if identity(&item).is_none_or(|identity| seen.insert(identity)) {
                    items.push(read(command, item)?);
                } else {
                    repeated = true;
                }
            }
            let counted = count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
            if length == 0 || counted.map_or(last, |counted| items.len() >= counted) {
                let whole = !repeated && counted.is_none_or(|counted| items.len() == counted);
                return Ok(Reading { items, whole });
            }
            page += 1;
        }
    }

    /// One page, and how many items it may have. The first page finds the
    /// largest of `sizes` that the cloud allows.
    async fn page(
        &self,
        ctx: &Context,
        command: &str,
        parameters: &Parameters,
        page: usize,
        sizes: &mut &[usize],
    ) -> Result<(Vec<Value>, Option<u64>, usize)> {
        loop {
            let Some((size, smaller)) = sizes.split_first() else {
                return Err(not_protocol(command, "the cloud allows no pages of ten items"));
            };
            let asked = parameters
                .clone()
                .with("page", page.to_string())
                .with("pagesize", size.to_string());
            match self.call(ctx, command, &asked).await {
                Ok(body) => {
                    let (items, count) = reply::items(body);
                    return Ok((items, count, *size));
                }
                Err(error) if page == 1 && !smaller.is_empty() && is_about_size(&error) => {
                    *sizes = smaller;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a page was refused because it may not be so large.
fn is_about_size(error: &Error) -> bool {
    error.kind() == ErrorKind::InvalidConfig
        && error.to_string().to_ascii_lowercase().contains("page size")
}

/// What tells an item from others: its id, and of templates, which are listed
/// once for each zone, the zone's too.
fn identity(item: &Value) -> Option<(String, String)> {
    let text = |name: &str| item.get(name).map(ToString::to_string);
    Some((text("id")?, text("zoneid").unwrap_or_default()))
}

//! User data, which comes in Base64.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::simulator::commands::Call;
use crate::simulator::error::ApiError;

/// The most characters with GET.
const MAX_IN_QUERY: usize = 4096;

/// The user data of a request, if there is any and it is sound.
pub(crate) fn checked(call: &Call<'_>) -> Result<Option<Box<str>>, ApiError> {
    let Some(text) = call.text("userdata") else { return Ok(None) };
    let most = call.world.options.max_user_data;
    let most = if call.request.is_post { most } else { most.min(MAX_IN_QUERY) };
    if text.len() > most {
        return Err(ApiError::parameter(format!(
            "User data is too long: {} characters, of {most} that are allowed",
            text.len()
        )));
    }
    if STANDARD.decode(text).is_err() && STANDARD_NO_PAD.decode(text).is_err() {
        return Err(ApiError::parameter("User data is not base64 encoded."));
    }
    Ok(Some(text.into()))
}

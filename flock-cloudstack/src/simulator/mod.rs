//! A server that answers as CloudStack would.

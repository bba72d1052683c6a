//! clamd.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Front;
use super::listen::Place;
use crate::resources::net::Stream;

/// Serves one connection to its end.
pub(super) async fn serve(_front: Arc<Front>, _stream: Stream, _peer: Option<SocketAddr>, _place: Place) {}

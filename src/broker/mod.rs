//! The running broker: shards on threads, images followed, peers fetched from, the controller hosted.

//! Frames over sockets: server, connection, client, peers.

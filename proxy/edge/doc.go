// Package edge is where connections are not plain RESP: it ends TLS with
// clients, begins it with servers, and reads the header by which a load
// balancer names the client (PROXY protocol version 2).
//
// An event loop polls bare descriptors and knows nothing of TLS. So a TLS
// connection is served by two goroutines, which carry bytes between it and one
// end of a socket pair (Bridge); the other end is given to the loop as if it
// were the connection. A Front does what a listener needs before a connection
// can be given away: the header, the handshake, their deadline, and a bound on
// how many are at it.
//
// ServerTLS and ClientTLS are made of files, which are read again when they
// change. Nothing here looks at who a certificate names: a client certificate
// of the right authority lets a client connect, and no more.
package edge

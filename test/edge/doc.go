// Package edge tests the whole program where clients and servers meet it: TLS on both sides, the PROXY protocol, unix
// sockets, and who a client is in both modes of authentication. The servers are real ones.
package edge

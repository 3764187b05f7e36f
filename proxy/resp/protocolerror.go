package resp

// ProtocolError says that the peer does not speak the protocol. The connection cannot be used any more:
// where one message ends and the next begins is unknown.
type ProtocolError struct {
	// Msg is, for a request, the text that Redis puts after "-ERR " before it closes the connection.
	Msg string
}

// Error returns Msg.
func (e *ProtocolError) Error() string { return e.Msg }

// The errors of requests, in Redis's words.
var (
	errBigInline      = &ProtocolError{"Protocol error: too big inline request"}
	errQuotes         = &ProtocolError{"Protocol error: unbalanced quotes in request"}
	errBigCount       = &ProtocolError{"Protocol error: too big mbulk count string"}
	errCount          = &ProtocolError{"Protocol error: invalid multibulk length"}
	errCountNoAuth    = &ProtocolError{"Protocol error: unauthenticated multibulk length"}
	errBigBulkHeader  = &ProtocolError{"Protocol error: too big bulk count string"}
	errBulkLen        = &ProtocolError{"Protocol error: invalid bulk length"}
	errBulkLenNoAuth  = &ProtocolError{"Protocol error: unauthenticated bulk length"}
	errStreamedNoCRLF = &ProtocolError{"Protocol error: expected CRLF in a streamed request"}
	errForgotTooMuch  = &ProtocolError{"Protocol error: internal: bytes of an unfinished header were forgotten"}
)

// expectedDollar is the error for an argument that starts with c instead of '$'. Redis replaces line
// ends in error texts by spaces.
func expectedDollar(c byte) *ProtocolError {
	if c == '\r' || c == '\n' {
		c = ' '
	}
	return &ProtocolError{"Protocol error: expected '$', got '" + string([]byte{c}) + "'"}
}

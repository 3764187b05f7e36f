// Package resp frames Redis requests and replies in buffers that fill up piece by piece.
//
// A [Request] finds the end and the arguments of one client request, a [Reply] the end of one server
// reply. Both are resumable: they are called again as bytes arrive, keep what they know between the
// calls and never look again at what they have seen, so the work is linear in the bytes however the
// bytes are cut. Neither copies or allocates in the steady state.
//
// Requests are judged exactly as Redis 7.0 judges them (processInlineBuffer, processMultibulkBuffer and
// sdssplitargs in its sources): what it accepts is accepted, what it refuses is refused after the same
// byte with the same text. A differential fuzz test against a real redis-server holds this.
//
// Nothing in this package is safe for concurrent use, and nothing blocks.
package resp

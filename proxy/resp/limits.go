package resp

// Limits bounds what one request may announce or hold.
type Limits struct {
	// MaxBulk is the largest argument in bytes (Redis: proto-max-bulk-len).
	MaxBulk int64
	// MaxArgs is the largest announced number of arguments. Redis: 1,048,576 before 7.0, 2,147,483,647
	// from then on.
	MaxArgs int64
	// MaxInline bounds, in bytes, an inline request and each header line: a line that has not ended
	// after MaxInline+1 bytes is refused (Redis: PROTO_INLINE_MAX_SIZE).
	MaxInline int
	// Unauthenticated adds what Redis demands of a client that still has to authenticate: at most 10
	// arguments of at most 16 KiB. It has its own error texts, and the limits above come first.
	Unauthenticated bool
}

// Redis's authRequired limits (processMultibulkBuffer).
const (
	maxArgsUnauthenticated = 10
	maxBulkUnauthenticated = 16 << 10
)

// DefaultLimits are the limits for an authenticated client: 512 MiB for an argument, 1,048,576 arguments,
// 64 KiB for a line.
var DefaultLimits = Limits{MaxBulk: 512 << 20, MaxArgs: 1 << 20, MaxInline: 64 << 10}

// UnauthenticatedLimits are DefaultLimits for a client that has yet to authenticate.
var UnauthenticatedLimits = Limits{MaxBulk: 512 << 20, MaxArgs: 1 << 20, MaxInline: 64 << 10, Unauthenticated: true}

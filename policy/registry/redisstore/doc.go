// Package redisstore keeps one registry for a fleet of proxies in a Redis: its own, or one of
// those that are proxied. It needs Redis 5 or later, and keys that are not evicted.
//
// # Keys
//
// All begin with {namespace}, so that they are in one slot of a Cluster:
//
//	{ns}:state      hash    a script's manifest by name; !revision, !token, !at, !format, !delta-from
//	{ns}:bodies     hash    bodies by sha
//	{ns}:changed    zset    names by the revision of their last change: what a reader of an older revision lacks
//	{ns}:audit      stream  one entry per change, with the id <revision>-<n>, capped
//	{ns}:instances  hash    one heartbeat per proxy
//	{ns}:announce   channel the new revision after each commit
//
// # Guarantees
//
// A commit is one Lua script, which checks that all keys have the right types and that the
// revision and token are those on which the change is based, and only then writes: it happens
// wholly or not at all, also when the server is killed (then as far as its persistence
// goes). It may be sent twice: the second time it finds that it has happened. Bodies are uploaded
// before it, content-addressed, so that an activation transfers one manifest.
//
// Readers are told by PUBLISH and, as a safety net, ask for the revision regularly. They get the
// manifests which changed since the revision that they know, or everything where that revision is
// not in the store's history. The revision of a namespace never repeats.
//
// A proxy which cannot reach the store goes on with what it knows. A store that comes back
// with less than was acknowledged (an empty memory, a failover to a replica that lagged) gets it
// back from the first proxy that notices. To reset a namespace on purpose, stop its proxies first.
//
// An ACL user needs: ~{ns}:* &{ns}:* +eval +evalsha +script|load +publish +subscribe +ping +time +type +exists
// +@hash +zadd +zcard +zrangebyscore +zrevrange +xadd +xrange +xrevrange +pexpire +del.
package redisstore

package differential

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// rule compares two replies to the same command, where byte for byte is too much to ask. It returns what differs
// that should not, or "".
type rule func(direct, proxied *reply) string

// difference is one allowed difference, with the reason why.
type difference struct {
	rule   rule
	reason string
}

// allowed lists the commands whose replies may differ, and how. Whatever is not listed must be the same byte for byte, and so
// must every error. Commands are looked up with their subcommand first.
var allowed = func() map[string]difference {
	m := make(map[string]difference)
	add := func(reason string, r rule, commands ...string) {
		for _, c := range commands {
			m[c] = difference{r, reason}
		}
	}
	add("client ids are the proxy's, since it is the proxy's sessions that they tell apart",
		integer, "CLIENT ID")
	add("the greeting holds a client id",
		greeting, "HELLO")
	add("each server hashes with a seed of its own, and lists what it keeps in hash tables in that order",
		unordered, "SMEMBERS", "SUNION", "SINTER", "SDIFF", "SPOP", "KEYS", "COMMAND LIST", "ACL CAT", "PUBSUB CHANNELS", "PUBSUB SHARDCHANNELS")
	add("hash tables, as above, with pairs",
		unorderedPairs, "HGETALL", "CONFIG GET", "PUBSUB NUMSUB")
	add("hash tables, as above; libraries and their functions, commands and their subcommands",
		unorderedDeep, "FUNCTION LIST", "FUNCTION STATS", "COMMAND", "COMMAND INFO", "COMMAND DOCS")
	add("hash tables, as above; the keys and the values of one hash",
		unordered, "HKEYS", "HVALS")
	add("hash tables, as above, in the order in which a user's rules are written",
		sameWords, "ACL LIST", "ACL GETUSER")
	add("hash tables, as above, behind a cursor", scanned, "SCAN", "SSCAN")
	add("hash tables, as above, behind a cursor, with pairs", scannedPairs, "HSCAN", "ZSCAN")
	add("chosen at random by each server",
		sameKind, "RANDOMKEY", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER", "ACL GENPASS", "LOLWUT", "VRANDMEMBER", "VSIM", "VLINKS", "VINFO")
	add("the time of day", sameKind, "TIME", "LASTSAVE")
	add("time passes between the two; in seconds", near(2), "TTL", "OBJECT IDLETIME", "EXPIRETIME")
	add("time passes between the two; in milliseconds", near(5000), "PTTL", "PEXPIRETIME")
	add("idle times in it are in milliseconds",
		nearDeep(5000), "XPENDING", "XINFO CONSUMERS", "XINFO STREAM")
	add("time left of a field's life", nearDeep(5000), "HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME")
	add("about the server's process: its memory, its connections, its time, its identity",
		sameKind, "INFO", "MEMORY USAGE", "MEMORY DOCTOR", "MEMORY MALLOC-STATS", "LATENCY HISTOGRAM", "LATENCY DOCTOR", "ACL LOG", "CLIENT LIST", "CLIENT INFO", "ROLE")
	add("hash tables, as above, in the order in which they are serialised",
		sameKind, "DUMP", "FUNCTION DUMP", "MEMORY STATS")
	return m
}()

// allowedFor finds what may differ in the replies to a command.
func allowedFor(c *Command) rule {
	if d, ok := allowed[c.Name()+" "+c.Sub()]; ok && c.Sub() != "" {
		return d.rule
	}
	return allowed[c.Name()].rule
}

// compare returns what differs between the replies to a command that should not, or "". queued are the commands of
// the transaction that an EXEC ran.
func compare(c *Command, queued []Command, direct, proxied *reply) string {
	if bytes.Equal(direct.raw, proxied.raw) {
		return ""
	}
	if direct.isError() || proxied.isError() {
		return "the replies differ"
	}
	if !bytes.Equal(join(sortPatterns(direct.pushes)), join(sortPatterns(proxied.pushes))) {
		return "the pushes inside the replies differ"
	}
	if c.Name() == "EXEC" && len(direct.elems) == len(queued) && len(proxied.elems) == len(queued) && direct.kind == proxied.kind {
		for i := range queued {
			if what := compare(&queued[i], nil, direct.elems[i], proxied.elems[i]); what != "" {
				return fmt.Sprintf("element %d of the transaction, %s: %s", i, queued[i], what)
			}
		}
		return ""
	}
	if r := allowedFor(c); r != nil {
		if direct.kind != proxied.kind || direct.null != proxied.null {
			return "the replies differ in type"
		}
		return r(direct, proxied)
	}
	return "the replies differ"
}

func sameKind(_, _ *reply) string { return "" }

func integer(direct, _ *reply) string {
	if direct.kind != ':' {
		return "the replies differ"
	}
	return ""
}

// greeting compares HELLO's replies except the id.
func greeting(direct, proxied *reply) string {
	if len(direct.elems) != len(proxied.elems) {
		return "the greetings differ in length"
	}
	for i, e := range direct.elems {
		if i > 0 && direct.elems[i-1].word() == "id" && e.kind == proxied.elems[i].kind {
			continue
		}
		if !bytes.Equal(e.raw, proxied.elems[i].raw) {
			return fmt.Sprintf("the greetings differ: %q and %q", e.raw, proxied.elems[i].raw)
		}
	}
	return ""
}

func raws(elems []*reply, stride int) [][]byte {
	out := make([][]byte, 0, len(elems)/stride)
	for i := 0; i+stride <= len(elems); i += stride {
		var b []byte
		for _, e := range elems[i : i+stride] {
			b = append(b, e.raw...)
		}
		out = append(out, b)
	}
	return out
}

func join(elems []*reply) []byte {
	if len(elems) == 0 {
		return nil
	}
	return raws(elems, len(elems))[0]
}

func sameSets(direct, proxied []*reply, stride int) string {
	if len(direct) != len(proxied) {
		return fmt.Sprintf("%d and %d elements", len(direct), len(proxied))
	}
	a, b := raws(direct, stride), raws(proxied, stride)
	slices.SortFunc(a, bytes.Compare)
	slices.SortFunc(b, bytes.Compare)
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return fmt.Sprintf("sorted, the elements differ: %q and %q", clip(a[i]), clip(b[i]))
		}
	}
	return ""
}

func unordered(direct, proxied *reply) string { return sameSets(direct.elems, proxied.elems, 1) }

// unorderedPairs compares maps, and RESP2's lists of keys and values in turn. RESP3 has lists of pairs as well.
func unorderedPairs(direct, proxied *reply) string {
	if direct.kind == '*' && len(direct.elems) > 0 && direct.elems[0].kind == '*' {
		return sameSets(direct.elems, proxied.elems, 1)
	}
	return sameSets(direct.elems, proxied.elems, 2)
}

// unorderedDeep compares what the replies consist of, at any depth and in any order.
func unorderedDeep(direct, proxied *reply) string {
	return sameSets(leaves(direct, nil), leaves(proxied, nil), 1)
}

// compareAll compares all of the replies to a command. UNSUBSCRIBE without arguments, and its kin, confirm in the
// order of a hash table; the numbers of subscriptions that are left come in theirs.
func compareAll(a *answer, proxied []*reply) string {
	if _, ok := confirmed[a.cmd.Name()]; ok && len(a.cmd.Args) == 1 && len(a.replies) > 1 {
		var names, otherNames []*reply
		for i, d := range a.replies {
			if !d.isConfirmation() || !proxied[i].isConfirmation() || !bytes.Equal(d.elems[2].raw, proxied[i].elems[2].raw) {
				return "the replies differ"
			}
			names, otherNames = append(names, d.elems[:2]...), append(otherNames, proxied[i].elems[:2]...)
		}
		return sameSets(names, otherNames, 2)
	}
	for i := range proxied {
		if what := compare(&a.cmd, a.queued, a.replies[i], proxied[i]); what != "" {
			return what
		}
	}
	return ""
}

// sameWords compares the words of the replies' texts, in any order.
func sameWords(direct, proxied *reply) string {
	words := func(r *reply) []string {
		var all []string
		for _, l := range leaves(r, nil) {
			all = append(all, strings.Fields(string(l.text))...)
		}
		slices.Sort(all)
		return all
	}
	if a, b := words(direct), words(proxied); !slices.Equal(a, b) {
		return fmt.Sprintf("the words differ: %q and %q", a, b)
	}
	return ""
}

func leaves(r *reply, to []*reply) []*reply {
	if len(r.elems) == 0 {
		return append(to, r)
	}
	for _, e := range r.elems {
		to = leaves(e, to)
	}
	return to
}

func scan(direct, proxied *reply, stride int) string {
	if len(direct.elems) != 2 || len(proxied.elems) != 2 {
		return "the replies differ"
	}
	if direct.elems[0].word() != "0" || proxied.elems[0].word() != "0" {
		return "" // part of a scan: which part goes by the hash
	}
	return sameSets(direct.elems[1].elems, proxied.elems[1].elems, stride)
}

func scanned(direct, proxied *reply) string      { return scan(direct, proxied, 1) }
func scannedPairs(direct, proxied *reply) string { return scan(direct, proxied, 2) }

// near compares integers that may be this far apart. Those below 0 have a meaning of their own.
func near(most int64) rule {
	return func(direct, proxied *reply) string {
		a, b := direct.integer(), proxied.integer()
		if direct.kind != ':' || a < 0 || b < 0 || max(a-b, b-a) > most {
			return "the numbers are too far apart"
		}
		return ""
	}
}

// nearDeep is near for the integers at any depth; the rest must be the same.
func nearDeep(most int64) rule {
	return func(direct, proxied *reply) string {
		a, b := leaves(direct, nil), leaves(proxied, nil)
		if len(a) != len(b) {
			return "the replies differ in length"
		}
		for i := range a {
			if bytes.Equal(a[i].raw, b[i].raw) {
				continue
			}
			if a[i].kind != ':' || b[i].kind != ':' || near(most)(a[i], b[i]) != "" {
				return fmt.Sprintf("the replies differ: %q and %q", a[i].raw, b[i].raw)
			}
		}
		return ""
	}
}

package resp_test

import (
	"bytes"
	"flag"
	"reflect"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// requestSeeds are the inputs that other parsers of the protocol are known to stumble over, and the
// ordinary ones.
func requestSeeds() []string {
	seeds := []string{
		"*1\r\n$9223372036854775807\r\n",
		"*9223372036854775807\r\n",
		"*1\r\n$-2\r\n",
		"$04",
		"*1\r\n$04\r\nPING\r\n",
		"*2\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n$1\r\nv\r\nGET k\r\n",
		"PING\r\n\r\n*0\r\n*-1\r\nECHO \"a\\x41\\n\" \r\nECHO 'it\\'s'\nPING \"\r\n",
		"*1\rX$4\rYPINGab*1\r\n$4\r\nPING\r\n",
		"*1\r\n$4\r\nPING\r\n*1\r\nPING\r\n",
		"*1\r\n\r\n",
		"PING\x00\r\nPING\r\n",
		"*11\r\n", "*1\r\n$16385\r\n",
		"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*2\r\n$4\r\nECHO\r\n$3\r\na\x00\n\r\nQUIT\r\nPING\r\n",
	}
	if !fuzzing() {
		seeds = append(seeds, strings.Repeat("x", 70<<10)+"\r\n")
	}
	return seeds
}

// fuzzing reports whether inputs are being generated (-fuzz). Large seeds are left out then: what is derived
// from them makes the engine spend its whole time on minimizing (by default 60 s for each input, in which
// it runs nothing new). They run whenever the seeds are run as tests.
func fuzzing() bool { return flag.Lookup("test.fuzz").Value.String() != "" }

// framed is one complete request.
type framed struct {
	Args []string
	Raw  string
	Size int // bytes received
}

// frameAll frames what data holds and returns the requests, the bytes behind the last of them, and the error.
func frameAll(data []byte, lim *resp.Limits) (all []framed, rest []byte, err error) {
	var r resp.Request
	for {
		n, err := r.Parse(data, lim)
		if n == 0 {
			return all, data, err
		}
		all = append(all, framed{args(&r), string(r.Raw()), n})
		data = data[n:]
	}
}

// fuzzLimits keep lines short, so that fuzzing reaches their limits.
var fuzzLimits = resp.Limits{MaxBulk: 1 << 10, MaxArgs: 100, MaxInline: 64}

func limitsFor(choice byte) *resp.Limits {
	return []*resp.Limits{&resp.DefaultLimits, &resp.UnauthenticatedLimits, &fuzzLimits}[choice%3]
}

func FuzzRequest(f *testing.F) {
	for i, s := range requestSeeds() {
		f.Add([]byte(s), byte(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, choice byte) {
		lim := limitsFor(choice)
		var r resp.Request
		for {
			n, err := r.Parse(data, lim)
			if n < 0 || n > len(data) || n > 0 && err != nil {
				t.Fatalf("Parse of %d bytes = %d, %v", len(data), n, err)
			}
			if n == 0 {
				if len(r.Raw()) > len(data) || len(r.Tail(r.Len())) > len(data) || err == nil && r.BulkLen() >= 0 && r.Missing() <= 0 {
					t.Fatal("wrong views of an incomplete request")
				}
				return
			}
			a := args(&r)
			if len(a) > 0 && string(r.Raw()) != string(resp.AppendCommand(nil, a...)) {
				t.Fatalf("Raw %q of the arguments %q", r.Raw(), a)
			}
			checkTails(t, &r)
			if again, rest, err := frameAll(r.Raw(), &resp.DefaultLimits); err != nil || len(rest) > 0 || len(again) != 1 || !reflect.DeepEqual(again[0].Args, a) {
				t.Fatalf("Raw %q is not a request of %q: %+v, %v", r.Raw(), a, again, err)
			}
			data = data[n:]
		}
	})
}

// FuzzRequestChunks cuts data into pieces of the lengths in cuts plus one, used in turn, at a new address for each
// call, and compares with framing it whole. With forget it hands on what it can early.
func FuzzRequestChunks(f *testing.F) {
	for i, s := range requestSeeds() {
		f.Add([]byte(s), []byte{0}, byte(i), i%2 == 0)
		f.Add([]byte(s), []byte{2, 0, 199}, byte(i), i%2 == 1)
	}
	if !fuzzing() {
		f.Add([]byte("*100000\r\n"+strings.Repeat("$1\r\na\r\n", 100_000)), []byte{0}, byte(0), true)
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte, choice byte, forget bool) {
		if len(cuts) == 0 || len(data) > 1<<20 {
			return
		}
		if len(data) > 4<<10 && !forget { // each call copies what was not forgotten
			cuts = []byte{255}
		}
		lim := limitsFor(choice)
		want, wantRest, wantErr := frameAll(data, lim)
		var r resp.Request
		var got []framed
		var handedOn []byte
		forgotten := false
		from, upto := 0, 0
		for i := 0; ; i++ {
			n, err := r.Parse(bytes.Clone(data[from:upto]), lim)
			if err != nil {
				if forgotten && err.Error() == "Protocol error: expected CRLF in a streamed request" {
					return
				}
				if !reflect.DeepEqual(err, wantErr) {
					t.Fatalf("error %v, want %v", err, wantErr)
				}
				break
			}
			if n > 0 {
				a := args(&r)
				handedOn = append(handedOn, r.Raw()...)
				if forgotten && len(got) < len(want) && len(a) == len(want[len(got)].Args) {
					for i, arg := range want[len(got)].Args {
						if r.Arg(i) == nil {
							a[i] = arg
						}
					}
				}
				got = append(got, framed{a, string(handedOn), n})
				from += n
				handedOn = handedOn[:0]
				forgotten = false
				continue
			}
			if k := r.Forgettable(); forget && k > 0 {
				handedOn = append(handedOn, r.Raw()...)
				r.Forget(k)
				from += k
				forgotten = true
			}
			if upto == len(data) {
				if len(wantRest) != len(handedOn)+upto-from || wantErr != nil {
					t.Fatalf("incomplete with %d bytes, want %d, %v", len(handedOn)+upto-from, len(wantRest), wantErr)
				}
				break
			}
			upto = min(upto+int(cuts[i%len(cuts)])+1, len(data))
		}
		if len(got) != len(want) {
			t.Fatalf("%d requests, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i].Raw != want[i].Raw || !reflect.DeepEqual(got[i].Args, want[i].Args) {
				t.Errorf("request %d: %+v, want %+v", i, got[i], want[i])
			}
		}
	})
}

func replySeeds() []string {
	seeds := []string{"$9223372036854775807\r\n", "*9223372036854775807\r\n"}
	for _, r := range replies {
		if len(r.in) < 2000 {
			seeds = append(seeds, r.in+"+next\r\n")
		}
	}
	return append(seeds, badReplies...)
}

// FuzzReply compares framing with decoding: a reply that is framed is decoded to its last byte, but for
// what only decoding looks at.
func FuzzReply(f *testing.F) {
	for _, s := range replySeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r resp.Reply
		n, done, err := r.Scan(data)
		if n < 0 || n > len(data) || done && (err != nil || n == 0) {
			t.Fatalf("Scan of %d bytes = %d, %v, %v", len(data), n, done, err)
		}
		if !done {
			if v, decodeErr := resp.Decode(data); decodeErr == nil {
				t.Fatalf("Scan = %d, %v but Decode = %+v", n, err, v)
			}
			return
		}
		v, decodeErr := resp.Decode(data[:n])
		if decodeErr != nil {
			for _, content := range []string{"bad integer", "bad boolean", "nested too deeply"} {
				if strings.Contains(decodeErr.Error(), content) {
					return
				}
			}
			t.Fatalf("Scan consumed %q but Decode: %v", data[:n], decodeErr)
		}
		if v.Kind != r.Kind() || r.Started() {
			t.Fatalf("Kind %q, decoded %q, Started %v", r.Kind(), v.Kind, r.Started())
		}
	})
}

func FuzzReplyChunks(f *testing.F) {
	for _, s := range replySeeds() {
		f.Add([]byte(s), []byte{0})
		f.Add([]byte(s), []byte{2, 0, 77})
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		if len(cuts) == 0 || len(data) > 64<<10 {
			return
		}
		var whole resp.Reply
		want, wantDone, wantErr := whole.Scan(data)
		var r resp.Reply
		from, upto, i := 0, 0, 0
		for {
			if upto-from > 0 {
				n, done, err := r.Scan(bytes.Clone(data[from:upto]))
				if err != nil {
					if !reflect.DeepEqual(err, wantErr) {
						t.Fatalf("error %v, want %v", err, wantErr)
					}
					return
				}
				from += n
				if done {
					break
				}
				if upto-from >= 32 {
					t.Fatalf("%d bytes left unconsumed", upto-from)
				}
			}
			if upto == len(data) {
				break
			}
			upto = min(upto+int(cuts[i%len(cuts)])+1, len(data))
			i++
		}
		if wantErr != nil || from != want || r.Started() != whole.Started() || r.Kind() != whole.Kind() {
			t.Fatalf("consumed %d, started %v, kind %q; whole %d, %v, %q, %v, %v",
				from, r.Started(), r.Kind(), want, whole.Started(), whole.Kind(), wantDone, wantErr)
		}
	})
}

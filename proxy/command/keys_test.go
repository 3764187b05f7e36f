package command

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// argsOf makes an accessor of words; ” stands for an empty argument.
func argsOf(line string) (int, func(int) []byte) {
	words := strings.Fields(line)
	args := make([][]byte, len(words))
	for i, w := range words {
		args[i] = []byte(strings.ReplaceAll(w, "''", ""))
	}
	return len(args), func(i int) []byte { return args[i] }
}

func TestKeysOfCommandsWithMovableKeys(t *testing.T) {
	for _, test := range []struct {
		line string
		want []int
		err  error
	}{
		{"EVAL script 2 a b c", []int{3, 4}, nil},
		{"evalsha_ro sha 0 a", nil, nil},
		{"EVALSHA sha 3 a b", nil, ErrKeys},
		{"EVALSHA sha -1 a b", nil, ErrKeys},
		{"FCALL f 01 a", nil, ErrKeys},
		{"FCALL f 99999999999999999999 a", nil, ErrKeys},
		{"EVAL script 9223372036854775807 a", nil, ErrKeys},
		{"XREAD COUNT 2 STREAMS a b c 0 0 0", []int{4, 5, 6}, nil},
		{"xreadgroup group streams c block 5 streams s >", []int{7}, nil},
		{"XREAD COUNT 2 BLOCK 0", nil, ErrKeys},
		{"SORT k BY store GET get LIMIT store 2 STORE a STORE b", []int{1, 12}, nil},
		{"SORT k STORE", []int{1}, nil},
		{"SORT_RO k BY x GET y", []int{1}, nil},
		{"MIGRATE h 1 k 0 9 COPY REPLACE AUTH KEYS", []int{3}, nil},
		{"MIGRATE h 1 '' 0 9 AUTH2 keys keys KEYS a b", []int{10, 11}, nil},
		{"MIGRATE h 1 k 0 9 KEYS a b", nil, ErrKeys},
		{"MIGRATE h 1 '' 0 9 KEYS", nil, ErrKeys},
		{"GEORADIUS k 1 1 1 km STORE d STOREDIST e", []int{1, 7, 9}, nil},
		{"GEORADIUSBYMEMBER k m 1 km COUNT 1 storedist e", []int{1, 8}, nil},
		{"ZUNIONSTORE d 2 a b WEIGHTS 1 2", []int{1, 3, 4}, nil},
		{"ZUNIONSTORE d 0 a b", nil, ErrKeys},
		{"BLMPOP 0 2 a b LEFT", []int{3, 4}, nil},
		{"MSET a 1 b 2", []int{1, 3}, nil},
		{"MSETEX 2 a 1 b 2 EX 5", []int{2, 4}, nil},
		{"BITOP AND d a b", []int{2, 3, 4}, nil},
		{"BLPOP a b c 0", []int{1, 2, 3}, nil},
		{"STRALGO LCS KEYS a b", []int{3, 4}, nil},
		{"OBJECT ENCODING k", []int{2}, nil},
		{"object NOSUCH k", nil, nil},
		{"XGROUP CREATE s g $", []int{2}, nil},
		{"SET k v GET", []int{1}, nil},
		{"PFMERGE d", []int{1}, nil},
		{"PFMERGE d a b", []int{1, 2, 3}, nil},
		{"SSUBSCRIBE channel", nil, nil},
		{"PING k", nil, nil},
		{"GET", nil, ErrKeys},
		{"BLPOP 0", nil, ErrKeys},
		{"HGETEX k FIELDS 1 f", []int{1}, nil},
	} {
		n, arg := argsOf(test.line)
		got, err := Embedded().Lookup(arg(0)).Keys(n, arg, []int{-7})
		if !slices.Equal(got, append([]int{-7}, test.want...)) || !errors.Is(err, test.err) {
			t.Errorf("%s: keys %v, %v, want %v, %v", test.line, got[1:], err, test.want, test.err)
		}
	}
}

func TestKeysOfAModuleWithAFinderOfItsOwnAreUnknown(t *testing.T) {
	for line, want := range map[string]error{
		"x.get -2 module,readonly,movablekeys - 1,1,1 RW,access,update,variable_flags:1:0/1/0": ErrKeysUnknown,
		"x.get -2 module,readonly,movablekeys - - -":                                           ErrKeysUnknown,
		"x.get -2 module,readonly - 1,1,1 RO,incomplete:1:0/1/0":                               ErrKeysUnknown,
		"x.get -2 module,readonly - 1,1,1 RO:1:?":                                              ErrKeysUnknown,
		"sort -2 module,readonly - 1,1,1 RO:?:?":                                               ErrKeysUnknown,
		"x.get -2 module,readonly - 1,1,1 RO:1:0/1/0":                                          nil,
		"x.get -2 module,readonly - 1,-1,1 -":                                                  nil,
	} {
		c, err := parseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		c.finish(OpNone)
		n, arg := argsOf("x.get key")
		keys, err := c.Keys(n, arg, nil)
		if err != want || (err == nil) != slices.Equal(keys, []int{1}) {
			t.Errorf("%s: keys %v, %v, want error %v", line, keys, err, want)
		}
	}
}

func TestFindingKeysDoesNotAllocate(t *testing.T) {
	for _, line := range []string{"EVALSHA sha 2 a b c", "SORT k STORE a", "XREAD STREAMS a 0", "MIGRATE h 1 '' 0 9 KEYS a", "GET k", "OBJECT FREQ k"} {
		n, arg := argsOf(line)
		c := Embedded().Lookup(arg(0))
		dst := make([]int, 0, 8)
		if allocs := testing.AllocsPerRun(100, func() { c.Keys(n, arg, dst[:0]) }); allocs != 0 {
			t.Errorf("%s: finding the keys allocates %v times", line, allocs)
		}
	}
}

func BenchmarkKeys(b *testing.B) {
	for _, line := range []string{"GET k", "EVALSHA sha 2 a b c", "XREAD COUNT 2 STREAMS a b 0 0"} {
		b.Run(strings.Fields(line)[0], func(b *testing.B) {
			b.ReportAllocs()
			n, arg := argsOf(line)
			c := Embedded().Lookup(arg(0))
			dst := make([]int, 0, 8)
			for b.Loop() {
				dst, _ = c.Keys(n, arg, dst[:0])
			}
		})
	}
}

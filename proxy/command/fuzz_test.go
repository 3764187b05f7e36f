package command

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzParse feeds Parse with arbitrary bytes and checks that a table which comes out can be used in every way.
func FuzzParse(f *testing.F) {
	f.Add([]byte("*1\r\n" + goodEntry))
	f.Add([]byte("*1\r\n*6\r\n+get\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:-1\r\n:1\r\n"))
	f.Add([]byte("-NOPERM\r\n"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		table, err := Parse(reply)
		if err != nil {
			return
		}
		for _, each := range []*Table{table, Embedded().Merge(table)} {
			count := 0
			for c := range each.All() {
				count++
				if each.LookupString(c.Name) != c || each.ByID(c.ID) != c {
					t.Errorf("%q is not found", c.Name)
				}
			}
			if count != each.Len() {
				t.Errorf("%d commands, but Len says %d", count, each.Len())
			}
		}
		for c := range table.All() {
			checkKeys(t, c, [][]byte{[]byte("a"), []byte("2"), []byte("streams"), []byte("1"), []byte("KEYS"), []byte("1"), []byte("2")})
		}
	})
}

const goodEntry = "*10\r\n+foo\r\n:-2\r\n*1\r\n+write\r\n:1\r\n:1\r\n:1\r\n*1\r\n+@write\r\n*0\r\n" +
	"*1\r\n*6\r\n+flags\r\n*1\r\n+OW\r\n+begin_search\r\n*4\r\n+type\r\n+keyword\r\n+spec\r\n*4\r\n+keyword\r\n+KEYS\r\n+startfrom\r\n:1\r\n" +
	"+find_keys\r\n*4\r\n+type\r\n+keynum\r\n+spec\r\n*6\r\n+keynumidx\r\n:0\r\n+firstkey\r\n:1\r\n+keystep\r\n:1\r\n" +
	"*1\r\n*6\r\n+foo|bar\r\n:2\r\n*0\r\n:0\r\n:0\r\n:0\r\n"

// FuzzKeys takes a command line with NUL between the arguments, and checks what Keys and BlocksWith do with it.
func FuzzKeys(f *testing.F) {
	for _, line := range []string{"EVAL s 2 a b c", "XREADGROUP GROUP g c BLOCK 1 STREAMS a b 0 0", "SORT k BY x STORE d", "MIGRATE h 1  0 9 AUTH p KEYS a b",
		"GEORADIUS k 1 1 1 km STORE d STOREDIST e", "MSETEX 2 a 1 b 2", "BLPOP a 0", "OBJECT FREQ k", "ZUNIONSTORE d 1 a", "PFMERGE d", "GET"} {
		f.Add(bytes.ReplaceAll([]byte(line), []byte(" "), []byte{0}))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		args := bytes.Split(line, []byte{0})
		c := Embedded().Lookup(args[0])
		if c == nil {
			return
		}
		checkKeys(t, c, args)
		c.BlocksWith(len(args), func(i int) []byte { return args[i] })
		if len(args) > 2 {
			if n, err := NumKeys(args[2], len(args)); err == nil && (n < 0 || n > len(args)-3) {
				t.Errorf("NumKeys gives %d of %d arguments", n, len(args))
			}
		}
	})
}

// checkKeys checks that Keys names only arguments behind the command's name, leaves dst alone when it fails, and asks
// for no argument that is not there.
func checkKeys(t *testing.T, c *Command, args [][]byte) {
	t.Helper()
	arg := func(i int) []byte {
		if i < 0 || i >= len(args) {
			t.Fatalf("%s with %d arguments: argument %d is asked for", c.Name, len(args), i)
		}
		return args[i]
	}
	got, err := c.Keys(len(args), arg, []int{-1})
	if len(got) == 0 || got[0] != -1 || err != nil && len(got) > 1 {
		t.Fatalf("%s: dst becomes %v, %v", c.Name, got, err)
	}
	if most := maxKeySpecs * len(args); len(got) > most+1 {
		t.Fatalf("%s: %d keys among %d arguments", c.Name, len(got)-1, len(args))
	}
	if slices.ContainsFunc(got[1:], func(i int) bool { return i < 1 || i >= len(args) }) {
		t.Fatalf("%s: keys %v among %d arguments", c.Name, got[1:], len(args))
	}
}

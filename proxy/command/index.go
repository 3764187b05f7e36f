package command

import (
	"encoding/binary"
	"math/bits"
)

// index finds commands by name in any case: an open-addressing hash table at most a quarter full, keyed by the name's
// first and last eight bytes in upper case, which together with the length are the whole name up to 16 bytes.
type index struct {
	slots []slot
	shift uint8
}

type slot struct {
	head, tail uint64
	name       string // upper case
	cmd        *Command
}

// newIndex indexes the commands by their keys, which must be distinct.
func newIndex(cmds []*Command) index {
	if len(cmds) == 0 {
		return index{}
	}
	size := 8
	for size < 4*len(cmds) {
		size *= 2
	}
	x := index{slots: make([]slot, size), shift: uint8(64 - bits.TrailingZeros(uint(size)))}
	for _, c := range cmds {
		name := c.key()
		head, tail := fold([]byte(name))
		i := x.start(head, tail, len(name))
		for x.slots[i].cmd != nil {
			i = (i + 1) & (size - 1)
		}
		x.slots[i] = slot{head, tail, name, c}
	}
	return x
}

// find returns the command called name, or nil. There is always a free slot to end at.
func (x *index) find(name []byte) *Command {
	if len(name) == 0 || len(x.slots) == 0 {
		return nil
	}
	head, tail := fold(name)
	mask := len(x.slots) - 1
	for i := x.start(head, tail, len(name)); ; i++ {
		s := &x.slots[i&mask]
		if s.cmd == nil {
			return nil
		}
		if s.head == head && s.tail == tail && len(s.name) == len(name) && (len(name) <= 16 || equalFold(name, s.name)) {
			return s.cmd
		}
	}
}

func (x *index) start(head, tail uint64, n int) int {
	// Odd constants from the golden ratio and from MurmurHash3's finalizer; the tests bound the probes.
	h := (head ^ bits.RotateLeft64(tail*0xff51afd7ed558ccd, 32) ^ uint64(n)) * 0x9e3779b97f4a7c15
	return int(h >> x.shift)
}

// fold packs the name's first and last eight bytes, in upper case; they overlap below 16 bytes. Names of less than
// eight bytes are packed likewise in smaller pieces.
func fold(b []byte) (head, tail uint64) {
	switch n := len(b); {
	case n >= 8:
		head, tail = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
		return upper(head), upper(tail)
	case n >= 4:
		head, tail = uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[n-4:]))
		return upper(head | tail<<32), 0
	case n > 0:
		return upper(uint64(b[0]) | uint64(b[n/2])<<8 | uint64(b[n-1])<<16), 0
	}
	return 0, 0
}

// upper turns a to z among the eight bytes of x into A to Z.
func upper(x uint64) uint64 {
	const ones = 0x0101010101010101
	low := x & (0x7f * ones)
	fromA := low + (0x80-'a')*ones
	afterZ := low + (0x7f-'z')*ones
	lower := (fromA ^ afterZ) & ^x & (0x80 * ones)
	return x - lower>>2
}

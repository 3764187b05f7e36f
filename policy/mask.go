package policy

import "slices"

// mask holds one bit for each rule, the first rule in the lowest bit of the first word.
type mask []uint64

func newMask(rules int) mask { return make(mask, (rules+63)/64) }

func (m mask) set(i int) { m[i/64] |= 1 << (i % 64) }

// and returns the rules that are in all of the masks.
func (m mask) and(others ...mask) mask {
	result := slices.Clone(m)
	for _, o := range others {
		for i := range result {
			result[i] &= o[i]
		}
	}
	return result
}

// span is a range of numbers, both ends included.
type span struct{ lo, hi int64 }

// wholeSpan holds every number.
var wholeSpan = span{0, 1<<63 - 1}

func (s span) contains(v int64) bool  { return s.lo <= v && v <= s.hi }
func (s span) covers(other span) bool { return s.lo <= other.lo && other.hi <= s.hi }

// axis finds the rules whose span holds a number: the numbers cut at the ends of every span, and a mask for
// each piece.
type axis struct {
	cuts   []int64 // ascending; piece i begins at cuts[i-1]
	pieces []mask
}

func newAxis(rules []*rule, of func(*rule) span) axis {
	var a axis
	for _, r := range rules {
		s := of(r)
		if s.lo > 0 {
			a.cuts = append(a.cuts, s.lo)
		}
		if s.hi < wholeSpan.hi {
			a.cuts = append(a.cuts, s.hi+1)
		}
	}
	slices.Sort(a.cuts)
	a.cuts = slices.Compact(a.cuts)
	for piece := range len(a.cuts) + 1 {
		m := newMask(len(rules))
		first := int64(0)
		if piece > 0 {
			first = a.cuts[piece-1]
		}
		for i, r := range rules {
			if of(r).contains(first) {
				m.set(i)
			}
		}
		a.pieces = append(a.pieces, m)
	}
	return a
}

// mask returns the rules whose span holds v; a negative v counts as 0.
func (a *axis) mask(v int64) mask {
	lo, hi := 0, len(a.cuts)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); a.cuts[mid] <= v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return a.pieces[lo]
}

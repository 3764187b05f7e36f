package metrics

import (
	"math"
	"math/bits"
	"time"
)

// bucketSeconds are the classic upper bounds of script_duration_seconds, from
// 100 µs, which is a script that does little, to 30 s, past any sane deadline.
// Each is at least twice the one before, which classicBucket relies on.
var bucketSeconds = [...]float64{
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30,
}

const numBuckets = len(bucketSeconds) + 1 // with +Inf

var (
	// bucketNanos are bucketSeconds in nanoseconds, with an end that nothing
	// passes.
	bucketNanos [numBuckets]uint64
	// bucketOfLen is the bucket of the smallest number of nanoseconds that
	// has the given number of bits.
	bucketOfLen [65]uint8
)

func init() {
	for i, s := range bucketSeconds {
		bucketNanos[i] = uint64(math.Round(s * 1e9))
	}
	bucketNanos[numBuckets-1] = math.MaxUint64
	for l := 1; l <= 64; l++ {
		smallest := uint64(1) << (l - 1)
		for bucketNanos[bucketOfLen[l]] < smallest {
			bucketOfLen[l]++
		}
	}
}

// classicBucket returns the index of the classic bucket of d ≥ 0, an upper
// bound belonging to its bucket. Between two powers of two there is at most one
// bound, so the length of the number and one comparison tell.
func classicBucket(d time.Duration) uint8 {
	n := uint64(d)
	b := bucketOfLen[bits.Len64(n)]
	_, past := bits.Sub64(bucketNanos[b], n, 0) // 1 when n > bound
	return b + uint8(past)
}

// Native buckets, as Prometheus defines them for schema 3: bucket k holds
// (2^((k-1)/8), 2^(k/8)] seconds. Eight consecutive ones are an octave.
const (
	nativeSchema    = 3
	nativePerOctave = 1 << nativeSchema
	// The shortest time is 1 ns, just under 2^-29 s, and the longest 2^63 ns,
	// just over 2^33 s.
	nativeMinOctave = -30
	nativeOctaves   = 65
)

// nativeBounds are 2^(i/8-1), i in 0..7, to the last digit as the client library
// and Prometheus have them, so that a time on a bound falls on the same side.
var nativeBounds = [nativePerOctave]float64{
	0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048,
	0.7071067811865475, 0.7711054127039704, 0.8408964152537144, 0.9170040432046711,
}

var (
	// nativeMantissa are the fraction bits of nativeBounds, with an end that no
	// fraction passes.
	nativeMantissa [nativePerOctave + 1]uint64
	// nativeOfTop is the bucket within the octave of the smallest fraction
	// that begins with the given four bits, as if it were not on a bound.
	nativeOfTop [16]uint8
)

const fractionMask = 1<<52 - 1

func init() {
	for i, b := range nativeBounds {
		nativeMantissa[i] = math.Float64bits(b) & fractionMask
	}
	nativeMantissa[nativePerOctave] = math.MaxUint64
	for top := range nativeOfTop {
		smallest := uint64(top) << 48
		for nativeMantissa[nativeOfTop[top]] < smallest {
			nativeOfTop[top]++
		}
	}
}

// nativeBucket returns the index of the native bucket of d > 0. The narrowest
// bucket is 9 % of its octave, wider than the 6.25 % that four bits tell, so one
// comparison decides the rest.
func nativeBucket(d time.Duration) int {
	v := math.Float64bits(float64(d) / 1e9)
	octave := int(v>>52) - 1023
	fraction := v & fractionMask
	i := nativeOfTop[fraction>>48]
	_, past := bits.Sub64(nativeMantissa[i], fraction, 0)
	return octave*nativePerOctave + int(i) + int(past)
}

// sparse counts observations in native buckets. It has room only for the
// octaves that were seen.
type sparse[N uint32 | uint64] struct {
	zero   N                    // observations of exactly 0
	place  [nativeOctaves]uint8 // where in octave: its index + 1
	octave [][nativePerOctave]N
}

func (s *sparse[N]) add(bucket int, n N) {
	o := bucket>>nativeSchema - nativeMinOctave
	p := s.place[o]
	if p == 0 {
		s.octave = append(s.octave, [nativePerOctave]N{})
		p = uint8(len(s.octave))
		s.place[o] = p
	}
	s.octave[p-1][bucket&(nativePerOctave-1)] += n
}

func (s *sparse[N]) observe(d time.Duration) {
	if d == 0 {
		s.zero++
		return
	}
	s.add(nativeBucket(d), 1)
}

// each calls f for every bucket that is not empty, in ascending order.
func (s *sparse[N]) each(f func(bucket int, n N)) {
	for o, p := range s.place {
		if p == 0 {
			continue
		}
		for i, n := range s.octave[p-1] {
			if n != 0 {
				f((o+nativeMinOctave)*nativePerOctave+i, n)
			}
		}
	}
}

// span is a run of adjacent native buckets: the gap to the run before it, or
// the index of the first bucket, and the number of buckets.
type span struct {
	offset int32
	length uint32
}

// spans returns the buckets as Prometheus takes them: runs, and each count as
// the difference to the one before.
func (s *sparse[N]) spans() (runs []span, deltas []int64) {
	next, before := 0, int64(0)
	s.each(func(bucket int, n N) {
		if bucket != next || len(runs) == 0 {
			runs = append(runs, span{offset: int32(bucket - next)})
		}
		runs[len(runs)-1].length++
		deltas = append(deltas, int64(n)-before)
		before, next = int64(n), bucket+1
	})
	if len(runs) == 0 {
		// Without a span, a histogram of zeros alone would pass for one that
		// has no native buckets.
		runs = append(runs, span{})
	}
	return runs, deltas
}

// reset empties s and keeps its room.
func (s *sparse[N]) reset() {
	s.zero, s.place, s.octave = 0, [nativeOctaves]uint8{}, s.octave[:0]
}

package registry

import (
	"math"
	"math/bits"
	"time"
)

// What a canary's choice sticks to.
const (
	StickyKey    = "key"    // the first key of the call
	StickyClient = "client" // the client that calls
)

// Canary sends a share of a script's calls to another version than the active one.
type Canary struct {
	Version string    `json:"version"`
	Percent float64   `json:"percent"` // 0.01 to 100, in hundredths
	Sticky  string    `json:"sticky"`
	Salt    string    `json:"salt"`
	Seed    uint64    `json:"seed,string"` // hash of the script's name and Salt
	Since   time.Time `json:"since"`
	By      string    `json:"by,omitempty"`
}

// newCanary salts with the version's id: raising the percentage of a running canary keeps the
// keys that it already has, and the next canary does not meet the same keys again.
func newCanary(script, version string, percent float64, sticky string) *Canary {
	return &Canary{Version: version, Percent: percent, Sticky: sticky, Salt: version, Seed: canarySeed(script, version)}
}

func canarySeed(script, salt string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(script) {
		h = (h ^ uint64(script[i])) * fnvPrime
	}
	h *= fnvPrime // a zero byte between the two
	for i := range len(salt) {
		h = (h ^ uint64(salt[i])) * fnvPrime
	}
	return h
}

// Picks tells whether a call with this sticky value belongs to the canary. The answer depends
// on nothing but the script's name, the salt, the percentage and key: it is the same in every
// proxy of a fleet, and raising the percentage only ever adds keys. It does not allocate.
func (c *Canary) Picks(key []byte) bool {
	h := c.Seed
	for _, b := range key {
		h = (h ^ uint64(b)) * fnvPrime
	}
	share, _ := bits.Mul64(mix(h), hundredths)
	return share < basisPoints(c.Percent)
}

const hundredths = 10_000 // of a percent, in the whole

func basisPoints(percent float64) uint64 {
	return uint64(math.Round(percent * hundredths / 100))
}

// FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// mix is the finaliser of MurmurHash3 (64 bits): FNV alone leaves the high bits of short keys
// poorly spread, and the share is taken from the high bits.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}

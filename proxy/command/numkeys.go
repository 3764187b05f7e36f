package command

import (
	"errors"
	"math"
)

// Redis's errors about the number of keys of a script call, without their code, which is ERR.
var (
	ErrNotInteger = errors.New("value is not an integer or out of range")
	//lint:ignore ST1005 Redis's own words
	ErrBadNumKeys = errors.New("Bad number of keys provided")
	//lint:ignore ST1005 Redis's own words
	ErrTooManyKeys = errors.New("Number of keys can't be greater than number of args")
	//lint:ignore ST1005 Redis's own words
	ErrNegativeNumKeys = errors.New("Number of keys can't be negative")
)

// NumKeys reads the number of keys of EVAL, EVALSHA and their _RO forms, which is their argument 2, as Redis does.
// argc counts all arguments, the name included. The errors are Redis's: ErrNotInteger, ErrTooManyKeys,
// ErrNegativeNumKeys. It does not allocate.
func NumKeys(arg []byte, argc int) (int, error) { return numKeys(arg, argc, ErrNotInteger) }

// NumKeysFunction does for FCALL and FCALL_RO what NumKeys does for EVAL. Redis words one error differently:
// ErrBadNumKeys stands for ErrNotInteger. It looks for the function before it looks at the number.
func NumKeysFunction(arg []byte, argc int) (int, error) { return numKeys(arg, argc, ErrBadNumKeys) }

func numKeys(arg []byte, argc int, notInteger error) (int, error) {
	n, ok := parseInteger(arg)
	switch {
	case !ok:
		return 0, notInteger
	case n > int64(argc-3):
		return 0, ErrTooManyKeys
	case n < 0:
		return 0, ErrNegativeNumKeys
	}
	return int(n), nil
}

// parseInteger reads a 64-bit integer as strictly as Redis's string2ll: no sign but '-', no leading zeros, no blanks.
func parseInteger(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > len("-9223372036854775808") {
		return 0, false
	}
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || b[0] < '1' || b[0] > '9' {
		return 0, false
	}
	var n uint64
	for _, d := range b {
		if d < '0' || d > '9' {
			return 0, false
		}
		digit := uint64(d - '0')
		if n > (math.MaxUint64-digit)/10 {
			return 0, false
		}
		n = n*10 + digit
	}
	switch {
	case negative && n <= -math.MinInt64:
		return -int64(n), true
	case !negative && n <= math.MaxInt64:
		return int64(n), true
	}
	return 0, false
}
